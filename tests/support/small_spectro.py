"""A small SpectroStream model, started on synthetic stereo."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from chirrup.lab.export.export import export
from chirrup.lab.models.spectrostream import SpectroConfig, SpectroStream
from chirrup.lab.training import codebooks
from small_model import Exported, reproducible, speech_like

CONFIG = SpectroConfig(
    encoder_dim=3,
    decoder_dim=4,
    strides=((1, 3), (2, 2), (2, 1)),
    widen=(2, 1, 2),
    separate_levels=2,
    latent_dim=12,
    code_dim=12,
    codebooks=3,
    codebook_size=256,
    hop=24,
    folds=True,
)
NAME = "small-spectro"
RATE_HZ, FRAME, DELAY = 48_000, 96, 24 + 96


def stereo(samples: int, seed: int = 0) -> np.ndarray:
    """Return two voices at different stereo positions, ``float32 [2, samples]``."""
    one, two = speech_like(samples, seed), speech_like(samples, seed + 50)
    return np.stack([one + 0.3 * two, 0.5 * one + two])


@cache
@torch.no_grad()
def small_spectro(code_dim: int = 12) -> SpectroStream:
    """Return the model, which is equal in every process. It is shared and must not be changed."""
    config = replace(CONFIG, code_dim=code_dim)
    with reproducible(0):
        model = SpectroStream(config).eval().requires_grad_(False)
        audio = torch.from_numpy(np.stack([stereo(24_000, seed) for seed in range(4)]))
        model.start(audio)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # at zero they hide errors
                parameter += 0.05 * torch.randn_like(parameter)
        latent = model.encoder.offline(audio)
        codebooks.initialise(model.quantizer, latent.transpose(1, 2).flatten(0, 1), 0)
    return model


def export_small_spectro(folder: Path) -> Exported:
    return Exported(folder, export(small_spectro(), NAME, folder, stereo(24_000, seed=99)))
