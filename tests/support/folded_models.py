"""Small models in their exported form, and their inputs."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

import small_lrac
from chirrup.lab.export.folding import fold
from chirrup.lab.models import Model
from small_model import FRAME, small_iris, speech_like

MODELS: dict[str, Callable[[], Model]] = {"iris": small_iris, "lrac": small_lrac.small_lrac}


@cache
def folded(name: str = "iris") -> Model:
    return fold(MODELS[name]())


def audio(frames: int = 100, seed: int = 1) -> Tensor:
    """So many frames of IRIS, twice as many of LRAC."""
    return torch.from_numpy(speech_like(frames * FRAME, seed))[None]


@cache
def codes(name: str = "iris") -> Tensor:
    """Return codes of speech ``int64 [1, codebooks, 60]`` with dropped codebooks and lost
    frames."""
    model = folded(name)
    result = model.quantizer.encode(model.encoder.offline(audio(60)[:, None]))[:, :, :60]
    result[:, 2:, 10:20] = -1
    result[:, :, 30:33] = -1
    result[:, 1:, 40:] = -1
    return result
