"""MP3: a music codec, at a constant bitrate."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from chirrup.evaluate.peers.commands import CommandPeer
from chirrup.files.mp3 import frame_bytes, is_info
from chirrup.files.tags import after_id3


class Mp3(CommandPeer):
    """LAME at a constant bitrate, with its defaults. At low bitrates LAME lowers the sample rate.

    Bits are the size of the frames, without tags and without the Info frame, which has no audio.
    The decoder writes 16-bit samples and removes the delay that the Info frame states. Below 48
    kbit/s, or 64 kbit/s for stereo, a frame is too small for this information and the delay is not
    removed. The encoder reads 24-bit samples, because it would normalise the level of float
    samples. It lowers the level by 0.4 dB.
    """

    name, label = "mp3", "MP3"
    bitrates_bps, sample_rate_hz = (32_000, 48_000, 64_000, 96_000, 128_000), 48_000
    channels = (1, 2)
    tools, package, suffix, subtype = ("lame",), "lame", "mp3", "PCM_24"

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("lame", "--quiet", "--cbr", "-b", bitrate_bps // 1000, source, coded)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return ("lame", "--quiet", "--decode", coded, decoded)

    def payload_bits(self, data: bytes) -> int:
        return 8 * sum(len(frame) for frame in frames(data) if not is_info(frame))


def frames(data: bytes) -> Iterator[bytes]:
    """Yield the Layer III frames of a file between its ID3 tags.

    Raises:
        ValueError: other data is between the frames.
    """
    at, end = after_id3(io.BytesIO(data)), len(data) - 128 * (data[-128:-125] == b"TAG")
    while at < end:
        size = frame_bytes(data[at : at + 4], at)
        if at + size > end:
            raise ValueError("the last MP3 frame is cut off")
        yield data[at : at + size]
        at += size
