"""Chirrup: streaming neural audio codecs.

The public API: `load` returns a `Codec`, which encodes a signal to `Codes` and decodes them, and
makes live streams, an `Encoder` and a `Decoder`.

>>> codec = chirrup.load("iris-t1")
>>> codes = codec.encode(audio, bitrate_bps=1000)
>>> audio = codec.decode(codes)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chirrup.errors import ChirrupError, FileError, FormatError, ModelError, UsageError

if TYPE_CHECKING:
    from chirrup.codec import Codec
    from chirrup.codes import Codes
    from chirrup.stream import Decoder, Encoder
    from chirrup.voice import in_voice
    from chirrup.zoo import load, models

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Turns off the telemetry of ONNX Runtime, which otherwise stores a device id and uploads an event
for each loaded model (from version 1.29 on). It reads this variable when it is imported."""

__version__ = "0.2.0"
__all__ = [
    "ChirrupError",
    "Codec",
    "Codes",
    "Decoder",
    "Encoder",
    "FileError",
    "FormatError",
    "ModelError",
    "UsageError",
    "in_voice",
    "load",
    "models",
]

_MODULES = {
    "Codec": "chirrup.codec",
    "Codes": "chirrup.codes",
    "Decoder": "chirrup.stream",
    "Encoder": "chirrup.stream",
    "in_voice": "chirrup.voice",
    "load": "chirrup.zoo",
    "models": "chirrup.zoo",
}
"""Modules that are imported at the first use of a name: importing NumPy takes most of the start of
a command, and Ctrl-C can be caught only when this module has been imported."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'chirrup' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
