"""The models that ship with the package, one folder each, and `load`."""

from pathlib import Path

from chirrup.codec import Codec
from chirrup.model_folders import FOLDER, RELEASED, UNTRAINED, models

__all__ = ["DEFAULT", "FOLDER", "RELEASED", "UNTRAINED", "load", "models"]

DEFAULT = "iris-t1"
"""Model that is loaded if none is named."""


def load(model: str | Path = DEFAULT, *, threads: int = 1, engine: str | None = None) -> Codec:
    """Load a model.

    >>> codec = chirrup.load("iris-t1")
    >>> codes = codec.encode(audio, bitrate_bps=6000)

    Args:
        model: a name that `models` returns, or ``NAME@DIGITS`` for earlier weights that the package
            keeps, or a folder that ``chirrup export`` wrote, or the address of a repository of the
            Hugging Face hub, ``hf://owner/name`` or ``hf://owner/name@revision``. Only an address
            uses the network.
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
        FileError: the package huggingface_hub is not installed, or the hub cannot be reached and
            its cache does not have the model.
        UsageError: there is no such engine.
    """
    return Codec.from_pretrained(model, threads=threads, engine=engine)
