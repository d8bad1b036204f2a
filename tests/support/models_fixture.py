"""Fixtures of exported small models, made once in a test session.

This is a plugin: a test module uses it with ``pytest_plugins = ["models_fixture"]``.
"""

from functools import partial
from pathlib import Path

import pytest
import soundfile
import torch

import chirrup
import small_focal
import small_lrac
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.checkpoints import VERSION
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.export import export_checkpoint
from once_a_session import once
from small_model import ENTRY, NAME, RATE_HZ, Exported, small_iris, speech_like


@pytest.fixture(scope="session")
def small_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The folder of the exported model. Copy it before changing it."""

    def make(folder: Path) -> Exported:
        checkpoint = folder.with_name("small-checkpoint.pt")
        config = TrainingConfig(model=NAME, stages=()).model_dump(mode="json")
        state = {"ema": small_iris().state_dict(), "step": 7, "hours": 0.5, "config": config}
        state["version"] = VERSION
        torch.save(state, checkpoint)
        clip = folder.with_name("clip.wav")
        soundfile.write(clip, speech_like(3 * RATE_HZ, seed=99), RATE_HZ)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(CONFIGS, NAME, ENTRY)
            return Exported(folder, export_checkpoint(checkpoint, folder, clip))

    return once(tmp_path_factory, NAME, make)


@pytest.fixture(scope="session")
def small_lrac_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return once(tmp_path_factory, small_lrac.NAME, small_lrac.export_small_lrac)


@pytest.fixture(scope="session", params=["waves", "voice"])
def small_focal_export(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """With the ends of the published ones, and with focal-small's."""
    config = small_focal.SPOKEN if request.param == "voice" else small_focal.CONFIG
    export = partial(small_focal.export_small_focal, config=config)
    return once(tmp_path_factory, f"{small_focal.NAME}-{request.param}", export)


@pytest.fixture(scope="session")
def small_focal_codec(small_focal_export: Exported) -> chirrup.Codec:
    return chirrup.load(small_focal_export.folder)


@pytest.fixture(scope="session")
def small_codec(small_export: Exported) -> chirrup.Codec:
    return chirrup.load(small_export.folder)
