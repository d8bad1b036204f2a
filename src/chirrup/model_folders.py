"""The folder of a model: shipped with the package, given as a path, or on the hub."""

import os
import re
from pathlib import Path

from chirrup.errors import ModelError
from chirrup.hub import PREFIX, download

FOLDER = Path(__file__).parent / "zoo"
RELEASED = {"focal-2k", "focal-4k", "focal-65k"}
UNTRAINED = RELEASED | {
    "spectro",
    "tq",
    "tq-imbalanced",
    "tq-subband",
}
"""Models that ship without weights. The authors of `RELEASED` have published weights."""


def models(*, earlier: bool = False) -> list[str]:
    """Return the names of the models that ship with the package.

    Args:
        earlier: also return ``NAME@DIGITS`` of earlier weights, which the package keeps.
    """
    return sorted(name for name in _shipped() if earlier or "@" not in name)


def with_weights(model: str, weights: str) -> str | None:
    """Return the name of the shipped model that decodes codes of some weights.

    Neither argument is used as a path, because both may come from anybody.

    Args:
        model: name of the model.
        weights: first digits of the SHA-256 of the weights that produced the codes, at least 8.

    Returns:
        ``NAME@DIGITS`` if the codes are of earlier weights, which the package keeps, with 8 digits.
        Otherwise the name, which has other weights if the package has none of that SHA-256. None
        if no such model ships.
    """
    names = _shipped()
    earlier = f"{model}@{weights[:8]}"
    return earlier if earlier in names else model if model in names else None


def is_shipped(name: str) -> bool:
    """Return whether the package has a model of this name, also ``NAME@DIGITS``."""
    return name in _shipped()


def _shipped() -> set[str]:
    return {path.parent.name for path in FOLDER.glob("*/model.json")}


def model_folder(model: str | Path) -> Path:
    """Return the folder of a model.

    Args:
        model: a name that `models` or `with_weights` returns, a folder with a ``model.json``, or
            the address of a repository of the Hugging Face hub, ``hf://owner/name`` or
            ``hf://owner/name@revision``. Only an address uses the network.

    Raises:
        ModelError: there is no such model, or it ships without weights, or the repository is not
            a model folder.
        FileError: the package huggingface_hub is not installed, or the hub cannot be reached and
            its cache does not have the model.
    """
    if isinstance(model, str) and model.startswith(PREFIX):
        return download(model)
    folder = FOLDER / model if isinstance(model, str) and is_shipped(model) else Path(model)
    if os.path.isfile(folder / "model.json"):  # also for a name that is too long for a file
        return folder
    names = ", ".join(models(earlier="@" in str(model))) or "(none installed)"
    if model in UNTRAINED and not folder.exists():
        way = (
            "download its authors' config.json and model.safetensors and export that folder"
            if model in RELEASED
            else "train it (docs/how-to/train.md) and export the run"
        )
        raise ModelError(
            f"{model} ships without weights: {way} with `chirrup export`; ready are {names}"
        )
    text = str(model)
    hub = (
        f"; {PREFIX}{text} loads it from the hub" if re.fullmatch(r"[\w.-]+/[\w.-]+", text) else ""
    )
    raise ModelError(
        f"no model {text!r}: it is neither a folder with a model.json nor one of {names}{hub}"
    )
