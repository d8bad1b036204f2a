"""MP3: music, a constant bitrate."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from chirrup.evaluate.peers.commands import CommandPeer

RATES_HZ = (44_100, 48_000, 32_000)
# kbit/s of Layer III by the header's index: MPEG-1, and MPEG-2 and 2.5, which have half the rates.
KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBPS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class Mp3(CommandPeer):
    """LAME at a constant bitrate, else its defaults; at low bitrates it takes a lower sample rate.

    Bits are those of the frames without tags and without the Info frame, which holds no sound.
    The decoder gives 16 bits, and removes the delay, which it takes from the Info frame. Where
    frames are too small to hold that one, below 48 kbit/s, or 64 for stereo, the delay is left in.
    The encoder gets 24 bits, since it would bring float files to full level; all the same it takes
    the level down by 0.4 dB.
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
    """The Layer III frames of a file between its ID3 tags.

    Raises:
        ValueError: something else is between them.
    """
    at, end = 0, len(data) - 128 * (data[-128:-125] == b"TAG")
    if data[:3] == b"ID3":  # four 7-bit bytes of size after a header of ten
        at = 10 + sum((byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0)))
    while at < end:
        size = frame_bytes(data[at : at + 4], at)
        if at + size > end:
            raise ValueError("the last MP3 frame is cut off")
        yield data[at : at + size]
        at += size


def frame_bytes(header: bytes, at: int) -> int:
    """Bytes of a frame, from its four bytes of header."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    rate, frequency, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    if bits >> 21 != 0x7FF or version == 1 or layer != 1 or rate in (0, 15) or frequency == 3:
        raise ValueError(f"no MP3 frame at byte {at}")
    kbps = (KBPS if version == 3 else KBPS_LOW)[rate]
    rate_hz = RATES_HZ[frequency] // {3: 1, 2: 2, 0: 4}[version]
    return (144_000 if version == 3 else 72_000) * kbps // rate_hz + padding


def is_info(frame: bytes) -> bool:
    """Whether it is the frame of LAME or Xing that describes the file, after the side information
    of silence."""
    return b"Info" in frame[4:40] or b"Xing" in frame[4:40]
