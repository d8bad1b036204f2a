"""The models that ship with the package, one folder each, and `load`."""

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
"""Models that ship without weights. The authors of `RELEASED` have published weights."""


def models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model.json"))


def load(model: str | Path = "iris-t1", *, threads: int = 1) -> Codec:
    """Load a model.

    >>> codec = chirrup.load("iris-t1")
    >>> codes = codec.encode(audio, bitrate_bps=6000)

    Args:
        model: a name that `models` returns, or a folder that ``chirrup export`` wrote.
        threads: number of threads that one call may use. One is the fastest for live frames.

    Returns:
        The codec. It reads the graphs at its first use.

    Raises:
        ModelError: there is no such model, or it ships without weights, or its files are damaged or
            of a newer format.
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
