"""A small LRAC baseline, started on synthetic speech."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from chirrup.lab.export.export import export
from chirrup.lab.models.lrac import Block, Lrac, LracConfig, Unit, units
from chirrup.lab.training import codebooks
from small_model import RATE_HZ, Exported, reproducible, speech_like

CONFIG = LracConfig(
    encoder=(
        Block(4, 4, units(3, (1, 9))),
        Block(6, 6, (Unit(3, 3, centred_1=True), Unit(3, 1, 3, centred_2=True))),
        Block(8, 10, units(5, (1,), 3)),
    ),
    decoder=(
        Block(8, 10, (Unit(3, 5, centred_1=True), *units(3, (2,)))),
        Block(6, 6, units(3, (1, 5))),
        Block(4, 4, units(3, (2,))),
    ),
    latent_dim=16,
    code_dim=4,
    codebooks=3,
    codebook_size=64,
)
NAME = "small-lrac"
ENTRY = (Lrac, CONFIG)
"""For `models.CONFIGS`."""
FRAME = 240
DELAY = (3 + 1) * 4 + 5 * 24
"""Steps that the centred convolutions see ahead, in samples."""


@cache
@torch.no_grad()
def small_lrac() -> Lrac:
    """Return the model, which is equal in every process. It is shared and must not be changed."""
    with reproducible(0):
        model = Lrac(CONFIG).eval().requires_grad_(False)
        audio = torch.from_numpy(np.stack([speech_like(2 * RATE_HZ, seed) for seed in range(8)]))
        model.start(audio[:, None])
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # at zero they hide errors
                parameter += 0.05 * torch.randn_like(parameter)
        latent = model.encoder.offline(audio[:, None])
        codebooks.initialise(model.quantizer, latent.transpose(1, 2).flatten(0, 1), 0)
        for _ in range(3):
            result = model.quantizer(latent, torch.full((8,), model.codebooks))
            codebooks.ema_update(model.quantizer, result.codes, result.projected)
    return model


def export_small_lrac(folder: Path) -> Exported:
    return Exported(folder, export(small_lrac(), NAME, folder, speech_like(RATE_HZ, seed=99)))
