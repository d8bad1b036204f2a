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


def load(model: str | Path = "iris-t1", *, threads: int = 1, engine: str | None = None) -> Codec:
    """Load a model.

    >>> codec = chirrup.load("iris-t1")
    >>> codes = codec.encode(audio, bitrate_bps=6000)

    Args:
        model: a name that `models` returns, or a folder that ``chirrup export`` wrote.
        threads: number of threads that one call of ONNX Runtime may use. One is the fastest for
            live frames. The native engine uses one.
        engine: "native" for the native engine, or "onnx" for ONNX Runtime. None selects the one in
            the environment variable ``CHIRRUP_ENGINE`` if the model has the files for it. Otherwise
            it selects the native engine if the model has a program for it and the engine is
            installed, else ONNX Runtime.

    Returns:
        The codec. It opens its engine at its first use.

    Raises:
        ModelError: there is no such model, or it ships without weights, or its files are damaged or
            of a newer format, or the engine cannot run it.
        UsageError: there is no such engine.
    """
    folder = FOLDER / model if isinstance(model, str) and model in models() else Path(model)
    if (folder / "model.json").is_file():
        return Codec(folder, threads=threads, engine=engine)
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
