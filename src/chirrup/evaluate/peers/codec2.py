"""Codec2: a vocoder for radio, 8 kHz."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chirrup.evaluate.peers.commands import CommandPeer
from chirrup.evaluate.peers.peer import from_int16, to_int16

MODES = {700: "700C", 1200: "1200", 1300: "1300", 1600: "1600", 2400: "2400", 3200: "3200"}


class Codec2(CommandPeer):
    """c2enc and c2dec with their defaults, on raw 16-bit samples.

    Bits are the output of c2enc, which pads each frame to whole bytes: in mode 700C from 28 to 32
    bits (800 bit/s), in mode 1300 from 52 to 56 bits. The delay is not removed. Codec2 is a
    vocoder, so its waveform differs from the input's.
    """

    name, label = "codec2", "Codec2"
    bitrates_bps, sample_rate_hz = tuple(MODES), 8000
    tools, package, suffix = ("c2enc", "c2dec"), "codec2", "bit"  # .c2 would add a header
    flush_samples = 640
    """Two frames, because the encoder drops an incomplete frame, and has look-ahead."""

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("c2enc", MODES[bitrate_bps], source, coded)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("c2dec", MODES[bitrate_bps], coded, decoded)

    def payload_bits(self, data: bytes) -> int:
        return 8 * len(data)

    def write(self, path: Path, audio: np.ndarray) -> None:
        to_int16(audio[0]).tofile(path)

    def read(self, path: Path) -> np.ndarray:
        return from_int16(np.fromfile(path, "<i2"))[None]
