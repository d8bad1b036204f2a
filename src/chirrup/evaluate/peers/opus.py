"""Opus (RFC 6716): a codec of speech and music."""

from collections.abc import Sequence
from pathlib import Path

from chirrup.evaluate.peers import ogg
from chirrup.evaluate.peers.commands import CommandPeer


class Opus(CommandPeer):
    """opus-tools with its defaults: variable bitrate, 20 ms frames, complexity 10.

    Bits are the size of the Ogg packets without the two headers. On tonal music the actual bitrate
    is far above the nominal one. The decoder removes the delay and returns the length of the input.
    """

    name, label = "opus", "Opus"
    bitrates_bps = (6000, 9000, 12_000, 16_000, 24_000, 32_000, 64_000, 96_000, 128_000)
    sample_rate_hz, channels = 48_000, (1, 2)
    tools, package, suffix, subtype = ("opusenc", "opusdec"), "opus-tools", "opus", "FLOAT"
    rate_control = "--vbr"

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        rate = ("--bitrate", f"{bitrate_bps / 1000:g}", self.rate_control)
        return ("opusenc", "--quiet", *rate, source, coded)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("opusdec", "--quiet", "--float", "--rate", self.sample_rate_hz, coded, decoded)

    def payload_bits(self, data: bytes) -> int:
        return ogg.payload_bits(data, headers=2)


class OpusCbr(Opus):
    """Opus with packets of equal size, as for a link of fixed bitrate."""

    name, label = "opus-cbr", "Opus CBR"
    rate_control = "--hard-cbr"
