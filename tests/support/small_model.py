"""A small IRIS model, started on synthetic speech; `models_fixture` exports it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from chirrup.lab.export.parity import Parity
from chirrup.lab.models.iris import Iris, IrisConfig
from chirrup.lab.training import codebooks

CONFIG = IrisConfig(
    encoder_dim=8,
    encoder_groups=4,
    latent_dim=32,
    decoder_dim=48,
    decoder_hidden_dim=52,
    decoder_blocks=2,
    codebooks=4,
    codebook_size=256,
)
NAME = "small"
ENTRY = (Iris, CONFIG)
"""For `models.CONFIGS`."""
RATE_HZ, FRAME, DELAY = 24_000, 480, 240


@dataclass(frozen=True)
class Exported:
    folder: Path
    parity: Parity


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    """Return syllables with harmonics of a varying pitch and some noise, ``float32 [samples]``."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / RATE_HZ
    pitch_hz = 120 + 60 * random.random() + 30 * np.sin(2 * np.pi * (1 + random.random()) * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = sum(np.sin(k * phase + random.random() * 6) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * (2 + 2 * random.random()) * time) + 0.5, 0, 1)
    audio = 0.1 * voice * syllables + 0.005 * random.standard_normal(samples)
    return audio.astype(np.float32)


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Draw from a seed and compute in one thread: equal values in every process of a test session.

    Sums of several threads differ with the number of threads that a busy machine gives, by enough
    to round a weight to another half-precision number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


@cache
@torch.no_grad()
def small_iris() -> Iris:
    """Return the model, which is equal in every process. It is shared and must not be changed."""
    with reproducible(0):
        model = Iris(CONFIG).eval().requires_grad_(False)
        audio = torch.from_numpy(np.stack([speech_like(2 * RATE_HZ, seed) for seed in range(8)]))
        model.start(audio[:, None])
        latents = model.encoder.offline(audio[:, None]).transpose(1, 2).flatten(0, 1)
        codebooks.initialise(model.quantizer, latents, 0)
        for name, parameter in model.named_parameters():
            if "scale_" in name or "log_" in name:  # at their initial values, folding hides errors
                parameter += 0.1 * torch.randn_like(parameter)
        head = model.decoder.layers[-2].get_parameter("project.conv.weight")
        head[:481] *= 4  # the log-magnitudes: so that the sound depends on the codes
    return model
