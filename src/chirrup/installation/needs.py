"""The uses of chirrup: what each of them needs, what is missing here, and the command to get it."""

import os
import shutil
import sys
from ctypes.util import find_library
from dataclasses import dataclass

from chirrup.errors import ChirrupError
from chirrup.evaluate.peers import PEERS
from chirrup.installation.packages import lacking
from chirrup.runtime import native
from chirrup.serve import assets


@dataclass(frozen=True)
class Use:
    """A use of the package.

    Attributes:
        name: short name, such as ``live``.
        purpose: commands and functions that need it.
        missing: what is missing; empty if the use is ready.
        commands: commands that install it.
        required: whether chirrup does nothing without it.
    """

    name: str
    purpose: str
    missing: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    required: bool = False


def uses() -> list[Use]:
    """Return all uses, with what is missing here."""
    return [
        _files(),
        _of_extra("onnx", "models without a program of the native engine"),
        _live(),
        _page(),
        _of_extra("web", "serve, and calls in rooms"),
        _of_extra("tokens", "tokenize to and from Parquet"),
        _of_extra("hub", "models of the Hugging Face hub"),
        _of_extra("hf", "tokenizers of transformers"),
        _of_extra("data", "data prepare, data check"),
        _of_extra("scale", "data and tokenize with --ray"),
        _of_extra("train", "train, export, audit of models without weights"),
        _of_extra("teachers", "train with WavLM as the teacher"),
        _compiler(),
        _of_extra("eval", "evaluate"),
        _of_extra("eval-all", "all metrics of evaluate"),
    ]


def codecs() -> dict[str, str | None]:
    """Return what to install for each other codec of ``chirrup evaluate``; None if it is ready."""
    return {name: peer.missing() for name, peer in PEERS.items()}


def _install(extra: str) -> str:
    return f"pip install 'chirrup[{extra}]'"


def _of_extra(extra: str, purpose: str) -> Use:
    missing = tuple(lacking(extra))
    return Use(extra, purpose, missing, (_install(extra),) if missing else ())


def _files() -> Use:
    missing, commands = lacking(), ["pip install --upgrade chirrup"]
    if native.library() is None and lacking("onnx"):
        missing.append(native.load_error())
        commands = ["pip install --upgrade chirrup", _install("onnx")]
    if not missing:
        commands = []
    purpose = "encode, decode, info"
    return Use("files", purpose, tuple(missing), tuple(commands), required=True)


def _live() -> Use:
    missing, commands = lacking("live"), []
    if missing:
        commands.append(_install("live"))
    if sys.platform == "linux" and find_library("portaudio") is None:
        missing.append("PortAudio")  # for other systems it is in the package sounddevice
        commands.append("apt-get install libportaudio2")
    return Use("live", "record, play, talk, encryption", tuple(missing), tuple(commands))


def _page() -> Use:
    purpose = "the models in a browser"
    try:
        assets.files()
    except ChirrupError as error:
        return Use("page", purpose, (str(error),))
    return Use("page", purpose)


def _compiler() -> Use:
    train = _of_extra("train", "train faster on a CPU")
    missing, commands = list(train.missing), list(train.commands)
    program = os.environ.get("CXX") or "c++"
    if shutil.which(program) is None:
        missing.append(f"the C++ compiler {program}")
        commands.append("apt-get install g++")
    return Use("fast", train.purpose, tuple(missing), tuple(commands))
