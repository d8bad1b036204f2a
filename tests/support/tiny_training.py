"""A corpus of a few seconds, and trainings of a few steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import small_lrac
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.loop import Trainer
from small_model import NAME, RATE_HZ, speech_like

MEL = {"waveform": 1.0, "complex": 1.0, "mel": 1.0}
LRAC_WAY = {
    "model": small_lrac.NAME,
    "optimiser": "radam",
    "schedule": "exponential",
    "betas": [0.9, 0.999],
}


def write_corpus(folder: Path) -> Path:
    """Write speech, noise and a room response as WAV files; return the manifest."""
    random = np.random.default_rng(0)
    room = random.standard_normal(3000) * np.exp(-np.arange(3000) / 400) * 0.1
    room[50] = 0.9
    clips = {f"speech_train/{index}.wav": speech_like(RATE_HZ, index) for index in range(3)}
    clips |= {f"speech_test/{index}.wav": speech_like(RATE_HZ, 9 + index) for index in range(3)}
    clips["noise_train/0.wav"] = 0.1 * random.standard_normal(RATE_HZ)
    clips["noise_test/0.wav"] = 0.1 * random.standard_normal(RATE_HZ // 3)
    clips["rir/0.wav"] = room
    for name, audio in clips.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, audio, RATE_HZ)
    manifest = folder / "MANIFEST.csv"
    manifest.write_text("\n".join(["path", *clips]) + "\n")
    return manifest


def tiny_recipe(corpus: Path, **changes: Any) -> dict[str, Any]:
    """Return a configuration with two stages of three steps."""
    return {
        "model": NAME,
        "data": {
            "manifest": str(corpus / "MANIFEST.csv"),
            "cache": str(corpus / "cache"),
            "crop_seconds": 0.2,
            "validation_clips": 1,
        },
        "stages": [
            {"name": "autoencoder", "steps": 3, "quantize": False, "weights": MEL},
            {"name": "codec", "steps": 3, "weights": MEL},
        ],
        "codes": {"revive_every": 2, "revive_below": 0.5, "lossy": 0.5},
        "batch_size": 2,
        "warmup_steps": 2,
    } | changes


def tiny_config(corpus: Path, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(tiny_recipe(corpus, **changes))


def with_adversary(**options: Any) -> dict[str, Any]:
    """Return changes that add small discriminators to the second stage."""
    weights = MEL | {"adversarial": 1.0, "features": 1.0}
    return {
        "stages": [
            {"name": "autoencoder", "steps": 2, "quantize": False, "weights": MEL},
            {"name": "adversarial", "steps": 4, "weights": weights},
        ],
        "adversary": {
            "discriminators": {
                "stft": {"kind": "stft", "options": {"n_ffts": [128, 256], "channels": 4}},
                "mel": {"kind": "mel", "options": {"n_ffts": [512], "mels": [40], "channels": 4}},
            },
            "learning_rate": 1e-2,
            **options,
        },
    }


def advance(trainer: Trainer, to: int) -> list[dict[str, float]]:
    """Train up to a step without log and clock."""
    sampler, figures = trainer.sampler(), []
    while trainer.step < to:
        figures.append(trainer.train_step(sampler))
        trainer.step += 1
    return figures


def stopped(config: TrainingConfig, folder: Path, step: int) -> Trainer:
    """Return a trainer after some steps, with its checkpoint in ``folder``."""
    trainer = Trainer(config, folder, torch.device("cpu"))
    advance(trainer, step)
    trainer.save()
    return trainer


def resumed(config: TrainingConfig, folder: Path) -> Trainer:
    """Return a trainer that resumes from the checkpoint in ``folder``."""
    trainer = Trainer(config, folder, torch.device("cpu"))
    trainer.restore(folder / "checkpoint.pt")
    return trainer


def heard_by_losses(
    trainer: Trainer, delay: int, audio: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the estimate and target of the losses for a model that only delays the signal."""
    sampler, seen = trainer.sampler(), []

    def record(estimate: Tensor, target: Tensor, _: object) -> dict[str, Tensor]:
        seen.extend((estimate.detach(), target))
        return {"mel": estimate.mean()}

    def late(audio: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        nothing = 0 * trainer.parameters[0].flatten()[:1]  # something must learn
        return torch.nn.functional.pad(audio, (delay, 0))[:, :, :-delay] + nothing, None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "batch", lambda _: (audio, target))
        patch.setattr(trainer.reconstruction, "forward", record)
        patch.setattr(trainer.model, "forward", late)
        trainer.train_step(sampler)
    estimate, target = seen
    return estimate, target


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """Return every leaf of a checkpoint by its path."""
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list):
        items = enumerate(state)
    else:
        return {name: state}
    return {k: v for key, value in items for k, v in flat(value, f"{name}.{key}").items()}


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    a, b = flat(a), flat(b)
    assert set(a) == set(b)
    return [
        name
        for name, value in a.items()
        if not (torch.equal(value, b[name]) if isinstance(value, Tensor) else value == b[name])
    ]
