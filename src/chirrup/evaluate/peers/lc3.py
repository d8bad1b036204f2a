"""LC3: Bluetooth LE Audio, 10 ms frames at a constant bitrate."""

from collections.abc import Sequence
from pathlib import Path

from chirrup.evaluate.peers.commands import CommandPeer

HEADER_BYTES = 18


class Lc3(CommandPeer):
    """elc3 and dlc3 of Google's liblc3, at one of the sample rates of LC3.

    Channels are coded one by one. Bits are the size of the frames, without the file header and the
    two bytes of length before each frame. The decoder removes the delay and writes 24-bit samples.
    """

    tools, package, suffix = ("elc3", "dlc3"), "liblc3-tools", "lc3"

    def __init__(self, name: str, sample_rate_hz: int, bitrates_bps: tuple[int, ...]) -> None:
        self.name, self.label = name, f"LC3 {sample_rate_hz // 1000} kHz"
        self.sample_rate_hz, self.bitrates_bps = sample_rate_hz, bitrates_bps

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("elc3", "-b", bitrate_bps, source, coded)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("dlc3", "-b", 24, coded, decoded)

    def payload_bits(self, data: bytes) -> int:
        if data[:2] != b"\x1c\xcc" or int.from_bytes(data[2:4], "little") != HEADER_BYTES:
            raise ValueError("no LC3 file header")
        bits, at = 0, HEADER_BYTES
        while at < len(data):
            size = int.from_bytes(data[at : at + 2], "little")
            bits, at = bits + 8 * size, at + 2 + size
        if at > len(data):
            raise ValueError("the last LC3 frame is cut off")
        return bits


LC3_PEERS = (
    Lc3("lc3-16k", 16_000, (16_000, 24_000, 32_000)),
    Lc3("lc3-24k", 24_000, (24_000, 32_000, 48_000)),
    Lc3("lc3-48k", 48_000, (32_000, 48_000, 64_000, 96_000, 128_000)),
)
"""Each sample rate has the bitrates at which it is useful."""
