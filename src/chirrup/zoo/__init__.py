"""Models that ship with the package, a folder each, and loading them or any other."""

from pathlib import Path

from chirrup.codec import Codec
from chirrup.errors import ModelError

FOLDER = Path(__file__).parent
RELEASED = {"focal-2k", "focal-4k", "focal-65k"}
UNTRAINED = RELEASED | {
    "spectro",
    "tq",
    "tq-imbalanced",
    "tq-subband",
}
"""Configurations without weights here; those of `RELEASED` have some of their authors'."""


def models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model.json"))


def load(model: str | Path = "iris-t1", *, threads: int = 1) -> Codec:
    """Load a model.

    Args:
        model: a name of `models`, or a folder that ``chirrup export`` wrote.
        threads: threads that one call may use. One is the fastest for live frames.

    Raises:
        ModelError: no such model, one without weights, or the folder's files are damaged or of a
            newer format.
    """
    folder = FOLDER / model if isinstance(model, str) and model in models() else Path(model)
    if (folder / "model.json").is_file():
        return Codec(folder, threads=threads)
    if model in UNTRAINED and not folder.exists():
        way = (
            "download its authors' config.json and model.safetensors and export that folder"
            if model in RELEASED
            else "train it (docs/how-to/train.md) and export the run"
        )
        raise ModelError(
            f"{model} ships without weights: {way} with `chirrup export`; "
            f"ready are {', '.join(models()) or '(none installed)'}"
        )
    raise ModelError(
        f"no model {str(model)!r}: it is neither a folder with a model.json nor one of "
        f"{', '.join(models()) or '(none installed)'}"
    )
