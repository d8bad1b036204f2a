"""Vorbis: a music codec, at a variable bitrate.

The settings are oggenc's defaults. Simple signals and mono stay well below the nominal bitrate.
Bits are the size of the Ogg packets without the three headers, which take 3.5 kB a stream.
"""

from collections.abc import Sequence
from pathlib import Path

from chirrup.evaluate.peers import ogg
from chirrup.evaluate.peers.commands import CommandPeer


class Vorbis(CommandPeer):
    """vorbis-tools, without bitrate management. There is no delay; samples have 16 bits."""

    name, label = "vorbis", "Vorbis"
    bitrates_bps, sample_rate_hz = (48_000, 64_000, 96_000, 128_000), 48_000
    channels = (1, 2)
    tools, package, suffix, subtype = ("oggenc", "oggdec"), "vorbis-tools", "ogg", "FLOAT"

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("oggenc", "--quiet", "--bitrate", bitrate_bps // 1000, "-o", coded, source)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("oggdec", "--quiet", "--bits", 16, "-o", decoded, coded)

    def payload_bits(self, data: bytes) -> int:
        return ogg.payload_bits(data, headers=3)
