"""The versions of the package, of Python and of the engines, and the shipped models."""

import platform
from dataclasses import dataclass

import chirrup
from chirrup.engines import choose_engine
from chirrup.errors import ModelError
from chirrup.installation.packages import version
from chirrup.model_json import read_spec
from chirrup.runtime import native
from chirrup.zoo import FOLDER, models


@dataclass(frozen=True)
class Model:
    """A shipped model.

    Attributes:
        name: name of the model.
        engine: engine that runs it, "native" or "onnx"; "" if its ``model.json`` is damaged.
        weights_sha256: SHA-256 of its weights.
    """

    name: str
    engine: str = ""
    weights_sha256: str = ""


@dataclass(frozen=True)
class About:
    """Facts of an installation.

    Attributes:
        version: version of chirrup.
        python: version of Python.
        system: operating system and kind of processor.
        native_missing: why there is no native engine; None if there is one.
        onnx_runtime: version of ONNX Runtime; None if it is not installed.
        models: the shipped models.
    """

    version: str
    python: str
    system: str
    native_missing: str | None
    onnx_runtime: str | None
    models: tuple[Model, ...]


def about() -> About:
    """Return the facts of this installation. It opens no model.

    Raises:
        UsageError: the environment variable CHIRRUP_ENGINE names no engine.
    """
    found = []
    for name in models():
        try:
            spec, _ = read_spec(FOLDER / name)
        except ModelError:
            found.append(Model(name))
        else:
            engine = choose_engine(None, FOLDER / name, spec)
            found.append(Model(name, engine, spec.weights_sha256))
    return About(
        version=chirrup.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        native_missing=None if native.library() is not None else native.load_error(),
        onnx_runtime=version("onnxruntime"),
        models=tuple(found),
    )
