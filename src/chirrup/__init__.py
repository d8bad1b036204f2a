"""Chirrup: streaming neural audio codecs.

The public API: `load` returns a `Codec`, which encodes a signal to `Codes` and decodes them, and
makes live streams, an `Encoder` and a `Decoder`.

>>> codec = chirrup.load("iris-t1")
>>> codes = codec.encode(audio, bitrate_bps=1000)
>>> audio = codec.decode(codes)
"""

# ruff: noqa: E402
import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Turns off the telemetry of ONNX Runtime, which otherwise stores a device id and uploads an event
for each loaded model (from version 1.29 on). It reads this variable when it is imported."""

from chirrup.codec import Codec
from chirrup.codes import Codes
from chirrup.errors import ChirrupError, FileError, FormatError, ModelError, UsageError
from chirrup.stream import Decoder, Encoder
from chirrup.voice import in_voice
from chirrup.zoo import load, models

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
