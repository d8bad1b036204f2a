"""MP3: a music codec, at a constant bitrate."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from chirrup.evaluate.peers.commands import CommandPeer

RATES_HZ = (44_100, 48_000, 32_000)
# kbit/s of Layer III by the header's index, for MPEG-1, and for MPEG-2 and 2.5.
KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBPS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


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
    at, end = 0, len(data) - 128 * (data[-128:-125] == b"TAG")
    if data[:3] == b"ID3":  # a header of ten bytes ends with the size, in four 7-bit bytes
        at = 10 + sum((byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0)))
    while at < end:
        size = frame_bytes(data[at : at + 4], at)
        if at + size > end:
            raise ValueError("the last MP3 frame is cut off")
        yield data[at : at + size]
        at += size


def frame_bytes(header: bytes, at: int) -> int:
    """Return the size of a frame in bytes, from its header of four bytes."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    rate, frequency, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    if bits >> 21 != 0x7FF or version == 1 or layer != 1 or rate in (0, 15) or frequency == 3:
        raise ValueError(f"no MP3 frame at byte {at}")
    kbps = (KBPS if version == 3 else KBPS_LOW)[rate]
    rate_hz = RATES_HZ[frequency] // {3: 1, 2: 2, 0: 4}[version]
    return (144_000 if version == 3 else 72_000) * kbps // rate_hz + padding


def is_info(frame: bytes) -> bool:
    """Return whether a frame is LAME's or Xing's description of the file.

    The description follows the side information of a silent frame.
    """
    return b"Info" in frame[4:40] or b"Xing" in frame[4:40]
