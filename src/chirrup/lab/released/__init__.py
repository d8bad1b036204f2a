"""Weights that the authors of a paper published, converted to our models."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from chirrup.lab.models import Model, build
from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.released import focalcodec, spectrostream


@dataclass(frozen=True)
class Released:
    """A published model.

    Attributes:
        model: the model with the published weights.
        name: name of its configuration.
        card: origin of the weights, for ``model.json``.
    """

    model: Model
    name: str
    card: dict[str, Any]


def is_released(folder: Path) -> bool:
    """Return whether a folder holds published weights in a known form."""
    return focalcodec.is_released(folder) or spectrostream.is_released(folder)


def load_released(folder: Path) -> Released:
    """Load published weights.

    Args:
        folder: ``config.json`` and ``model.safetensors`` of FocalCodec-Stream, or the files of
            SpectroStream (`spectrostream.FILES`).

    Raises:
        ValueError: the files do not fit a known model.
    """
    if spectrostream.is_released(folder):
        name, card = "spectro", {"released": "SpectroStream of Magenta RealTime 2"}
        model = build(name)
        spectrostream.load_weights(cast(SpectroStream, model), folder)
    else:
        model = focalcodec.from_pretrained(folder)
        name = focalcodec.name_of(model.config)
        card = {"released": json.loads((folder / focalcodec.CONFIG).read_text())}
    return Released(model, name, card)
