"""Fixtures of all tests."""

from pathlib import Path

import pytest

from chirrup.codec import ZOO


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The shipped model."""
    folder = ZOO / "iris-t1"
    if not (folder / "model.json").is_file():
        pytest.skip("no model is shipped")
    return folder
