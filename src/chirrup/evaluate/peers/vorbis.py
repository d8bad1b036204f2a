"""Vorbis: music, a variable bitrate.

oggenc's defaults at a nominal bitrate, which simple signals and mono stay well below. Bits are
those of the Ogg packets without the three headers, which take 3.5 kB once a stream.
"""

from collections.abc import Sequence
from pathlib import Path

from chirrup.evaluate.peers import ogg
from chirrup.evaluate.peers.commands import CommandPeer


class Vorbis(CommandPeer):
    """vorbis-tools, without its bitrate management. No delay; the decoder gives 16 bits."""

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
