"""The models, one module per paper, and the list of their names.

`build` makes a model by its name in `CONFIGS`.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from chirrup.errors import ModelError
from chirrup.lab.models.focalcodec import FocalCodec, FocalConfig
from chirrup.lab.models.iris import Iris, IrisConfig
from chirrup.lab.models.lrac import Lrac, LracConfig
from chirrup.lab.models.model import Model
from chirrup.lab.models.spectrostream import SpectroConfig, SpectroStream
from chirrup.lab.models.tqcodec import TQCodec, TQConfig
from chirrup.lab.weights import MAX_NUMBER

__all__ = ["CONFIGS", "Model", "build", "checkpoint_defaults"]

ModelEntry = tuple[Callable[[Any], Model], Any]
"""The class of a model, and its configuration, a dataclass."""

CONFIGS: dict[str, ModelEntry] = {
    "iris-t1": (Iris, IrisConfig()),
    "iris-t2": (Iris, IrisConfig.track_2()),
    "lrac-t1": (Lrac, LracConfig.track_1()),
    "lrac-t2": (Lrac, LracConfig.track_2()),
    "focal-2k": (FocalCodec, FocalConfig(bits=11)),
    "focal-4k": (FocalCodec, FocalConfig(bits=12)),
    "focal-65k": (FocalCodec, FocalConfig()),
    "focal-small": (FocalCodec, FocalConfig.small()),
    "spectro": (SpectroStream, SpectroConfig()),
    "spectro-small": (SpectroStream, SpectroConfig.small()),
    "tq": (TQCodec, TQConfig()),
    "tq-imbalanced": (TQCodec, TQConfig.imbalanced()),
    "tq-subband": (TQCodec, TQConfig.subband()),
    "tq-small": (TQCodec, TQConfig.small()),
}


def build(name: str, **changes: Any) -> Model:
    """Return a model with fresh weights.

    Args:
        name: a key of `CONFIGS`.
        changes: fields of the configuration that differ from the default.

    Raises:
        ModelError: the name is unknown, or a field or its value is not valid.
    """
    if name not in CONFIGS:
        raise ModelError(f"no model is called {name!r}; choose one of {', '.join(CONFIGS)}")
    kind, config = CONFIGS[name]
    known = [field.name for field in fields(config)]
    for key, value in changes.items():
        if key not in known:
            near = get_close_matches(key, known, 3, 0.5) or known
            raise ModelError(f"{name} has no {key!r}: use {', '.join(near)}")
        numbers = value if isinstance(value, list | tuple) else [value]
        if not all(0 <= x <= MAX_NUMBER for x in numbers if isinstance(x, int | float)):
            raise ModelError(f"{name}: {key} is {value!r:.40}: give numbers from 0 to {MAX_NUMBER}")
    try:
        return kind(replace(config, **changes))
    except Exception as error:  # its kind depends on the layer that fails
        raise ModelError(f"{name} cannot be built with these changes: {error}") from error


def checkpoint_defaults(name: object) -> dict[str, Any]:
    """Return values for configuration fields that older checkpoints lack.

    Returns an empty dict for an unknown model.
    """
    entry = CONFIGS.get(name) if isinstance(name, str) else None
    return getattr(entry[1], "CHECKPOINT_DEFAULTS", {}) if entry else {}
