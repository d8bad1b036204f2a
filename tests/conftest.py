"""Fixtures of all tests."""

from pathlib import Path

import pytest

from chirrup.codec import ZOO


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The shipped model."""
    return ZOO / "iris-t1"
