"""Coding of audio files to ``.chirrup`` files and back, block by block, in constant memory.

>>> encode_file(chirrup.load("iris-t1"), "talk.wav", "talk.chirrup", bitrate_bps=1000)
>>> decode_file(None, "talk.chirrup", "talk-decoded.wav")
>>> describe("talk.chirrup")["bitrate_bps"]
"""

from chirrup.errors import FileError
from chirrup.files.about import describe
from chirrup.files.coding import Decoded, Encoded, decode_file, encode_file
from chirrup.files.conversion import convert_file
from chirrup.files.inputs import Source
from chirrup.files.outputs import Target

__all__ = [
    "Decoded",
    "Encoded",
    "FileError",
    "Source",
    "Target",
    "convert_file",
    "decode_file",
    "describe",
    "encode_file",
]
