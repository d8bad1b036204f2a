"""Speex: the open speech codec before Opus, narrowband and wideband.

Settings are speexenc's defaults at a constant bitrate. Bits are those of the Ogg packets without
the two headers: each 20 ms frame padded to whole bytes, so 2400 bit/s are sent where 2150 are
nominal.
"""

from collections.abc import Sequence
from pathlib import Path

from chirrup.evaluate.peers import ogg
from chirrup.evaluate.peers.commands import CommandPeer

NARROWBAND = {2150: 0, 3950: 1, 5950: 2, 8000: 4, 11_000: 6, 15_000: 8, 18_200: 9, 24_600: 10}
WIDEBAND = {3950: 0, 5750: 1, 7750: 2, 9800: 3, 12_800: 4, 16_800: 5, 20_600: 6, 27_800: 8}
"""speexenc's quality for each bitrate."""


class Speex(CommandPeer):
    """Narrowband: 8 kHz. The decoder removes the encoder's look-ahead."""

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
    """Wideband: 16 kHz."""

    name, label = "speex-wb", "Speex wideband"
    bitrates_bps, sample_rate_hz, flush_samples = tuple(WIDEBAND), 16_000, 640
    mode, qualities = "--wideband", WIDEBAND
