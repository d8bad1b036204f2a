"""The script that trains a decoder to begin without a burst."""

from copy import deepcopy
from importlib import import_module
from pathlib import Path

import pytest
import torch

import small_model
from benchmark_scripts import scripts  # noqa: F401
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.loop import Trainer
from tiny_training import tiny_recipe, write_corpus


def test_first_frames_are_trained_without_a_change_of_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_frames = import_module("first_frames")
    monkeypatch.setattr(first_frames, "WARM_UP", 1)
    monkeypatch.setattr(first_frames, "RATE", 2e-3)
    monkeypatch.setitem(CONFIGS, small_model.NAME, small_model.ENTRY)
    write_corpus(tmp_path)
    recipe = tiny_recipe(tmp_path)
    recipe["data"] |= {"crop_seconds": 0.6}
    config = TrainingConfig.model_validate(recipe)
    trainer = Trainer(config, tmp_path / "run", torch.device("cpu"))
    teacher = small_model.small_iris()
    student = deepcopy(teacher)
    student.decoder.requires_grad_(True)
    audio = torch.from_numpy(small_model.speech_like(24_000, seed=99))[None, None, 4800:]
    latent = first_frames.received(teacher, audio, torch.Generator().manual_seed(0))
    lost = latent.new_zeros(1, latent.shape[1], first_frames.LOST)

    def error() -> float:
        with torch.no_grad():
            wanted = teacher.decoder.offline(torch.cat([lost, latent], 2))
            made = student.decoder.offline(latent)
        return float((made - wanted[..., -made.shape[-1] :])[..., :960].square().mean())

    before = error()
    first_frames.train(trainer, teacher, student, 4)
    assert error() < before
    kept = teacher.state_dict()
    changed = {name for name, value in student.state_dict().items() if not value.equal(kept[name])}
    assert {name.partition(".")[0] for name in changed} == {"decoder"}
