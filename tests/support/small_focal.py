"""A small FocalCodec-Stream with random weights, exported by `models_fixture`."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from chirrup.lab.export.export import export
from chirrup.lab.models.focalcodec import FocalCodec, FocalConfig
from small_model import Exported, reproducible, speech_like

CONFIG = FocalConfig(
    bits=16,
    front_dim=16,
    dim=32,
    layers=2,
    heads=4,
    hidden_dim=64,
    position_kernel=16,
    position_groups=4,
    window_frames=32,
    focal_dim=32,
    focal_blocks=1,
    focal_kernels=(4, 6, 32),
    waveform_dim=32,
    waveform_hidden_dim=48,
    waveform_blocks=1,
)
SPOKEN = replace(CONFIG, spectra=True, chunk_codes=True, code_refiners=1, voice_bands=40)
"""The same, with spectra first and a voice last, as focal-small has, and codes of chunks."""
NAME = "small-focal"
ENTRY = (FocalCodec, CONFIG)
"""For `models.CONFIGS`."""


@cache
def small_focal(config: FocalConfig = CONFIG) -> FocalCodec:
    with reproducible(2):
        model = FocalCodec(config).eval().requires_grad_(False)
        if config.spectra:
            model.start(torch.from_numpy(speech_like(2 * 16_000, seed=98))[None, None])
        for name, parameter in model.named_parameters():
            if parameter.dim() < 3 and "norm" not in name:  # some values are alike at first
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def export_small_focal(folder: Path, config: FocalConfig = CONFIG) -> Exported:
    clip = speech_like(2 * 16_000, seed=99)
    return Exported(folder, export(small_focal(config), NAME, folder, clip))
