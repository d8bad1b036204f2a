"""Speex: a speech codec older than Opus, narrowband and wideband.

The settings are speexenc's defaults at a constant bitrate. Bits are the size of the Ogg packets
without the two headers. Each frame of 20 ms is padded to whole bytes, so the actual bitrate of
2150 bit/s is 2400.
"""

from collections.abc import Sequence
from pathlib import Path

from chirrup.evaluate.peers import ogg
from chirrup.evaluate.peers.commands import CommandPeer

NARROWBAND = {2150: 0, 3950: 1, 5950: 2, 8000: 4, 11_000: 6, 15_000: 8, 18_200: 9, 24_600: 10}
WIDEBAND = {3950: 0, 5750: 1, 7750: 2, 9800: 3, 12_800: 4, 16_800: 5, 20_600: 6, 27_800: 8}
"""Quality of speexenc by bitrate."""


class Speex(CommandPeer):
    """Narrowband Speex, 8 kHz. The decoder removes the look-ahead of the encoder."""

    name, label = "speex-nb", "Speex narrowband"
    bitrates_bps, sample_rate_hz, flush_samples = tuple(NARROWBAND), 8000, 320
    tools, package, suffix = ("speexenc", "speexdec"), "speex", "spx"
    mode, qualities = "--narrowband", NARROWBAND

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("speexenc", self.mode, "--quality", self.qualities[bitrate_bps], source, coded)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("speexdec", coded, decoded)

    def payload_bits(self, data: bytes) -> int:
        return ogg.payload_bits(data, headers=2)


class SpeexWideband(Speex):
    """Wideband Speex, 16 kHz."""

    name, label = "speex-wb", "Speex wideband"
    bitrates_bps, sample_rate_hz, flush_samples = tuple(WIDEBAND), 16_000, 640
    mode, qualities = "--wideband", WIDEBAND
