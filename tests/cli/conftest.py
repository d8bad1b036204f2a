"""A talk and its ``.chirrup`` file."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.cli import run


@pytest.fixture(scope="session")
def folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stereo talk of 2 s and its ``.chirrup`` file."""
    folder = tmp_path_factory.mktemp("talk")
    random = np.random.default_rng(0)
    soundfile.write(folder / "talk.wav", 0.02 * random.standard_normal((44_101, 2)), 22_050)
    assert run(["encode", str(folder / "talk.wav"), "-b", "1k", "-q"]) == 0
    return folder
