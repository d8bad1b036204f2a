"""Chirrup: streaming neural audio codecs.

>>> codec = chirrup.load("iris-t1")
>>> codes = codec.encode(audio, bitrate_bps=1000)
>>> audio = codec.decode(codes)
"""

# ruff: noqa: E402
import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime 1.29 and later store a device id and upload events of each loaded model. The runtime
reads this variable when it is imported."""

from chirrup.codec import Codec
from chirrup.codes import Codes
from chirrup.errors import ChirrupError, FileError, FormatError, ModelError, UsageError
from chirrup.stream import Decoder, Encoder
from chirrup.voice import in_voice
from chirrup.zoo import load, models

__version__ = "0.1.0"
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
