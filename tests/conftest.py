"""Fixtures of all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

from chirrup.zoo import FOLDER

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The shipped model."""
    return FOLDER / "iris-t1"
