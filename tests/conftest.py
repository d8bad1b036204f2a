"""Fixtures of all tests."""

from pathlib import Path

import pytest

from chirrup.zoo import FOLDER


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The shipped model."""
    return FOLDER / "iris-t1"
