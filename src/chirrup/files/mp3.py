"""Frames of MP3 files, and the Info frame, which states the number of frames.

Most encoders write an Info frame, which has no audio, as the first frame. Without it, libsndfile
estimates the length from the bitrate of the first frame, and reads no samples after that length.
"""

import os
import struct
from typing import BinaryIO

from chirrup.files.tags import after_id3

RATES_HZ = (44_100, 48_000, 32_000)
# kbit/s of Layer III by the header's index, for MPEG-1, and for MPEG-2 and 2.5.
KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBPS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_DECODER_DELAY = 529
"""Delay of every decoder of Layer III in samples."""
_MOST_SKIPPED = 1024
"""Number of bytes within which mpg123 searches the next frame."""


def frame_bytes(header: bytes, at: int) -> int:
    """Return the size of a frame in bytes, from its header of four bytes.

    Raises:
        ValueError: it is not the header of a Layer III frame with a stated bitrate.
    """
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
    return b"Info" in frame[4:42] or b"Xing" in frame[4:42]


def with_info(content: BinaryIO) -> tuple[bytes, int] | None:
    """Return a beginning of an MP3 file that states the number of frames.

    The position in the file stays, because libsndfile may have opened it.

    Returns:
        The ID3v2 tags with an Info frame, and the offset of the first frame in the file. None if
        the file has an Info frame, or if its tags are not followed by a frame.
    """
    position = content.tell()
    try:
        start = after_id3(content)
        content.seek(start)
        first = content.read(42)
        frame_bytes(first[:4], start)
        if is_info(first):
            return None
        content.seek(0)
        return content.read(start) + _info(first[:4], _count(content, start)), start
    except ValueError:
        return None
    finally:
        content.seek(position)


def _count(content: BinaryIO, start: int) -> int:
    """Count the whole frames of a file, and skip up to `_MOST_SKIPPED` other bytes.

    Args:
        start: offset of the first frame.
    """
    end, at, count, skipped = content.seek(0, os.SEEK_END), start, 0, 0
    while at < end and skipped <= _MOST_SKIPPED:
        content.seek(at)
        try:
            at += frame_bytes(content.read(4), at)
            count, skipped = count + (at <= end), 0
        except ValueError:
            at, skipped = at + 1, skipped + 1
    return count


def _info(header: bytes, frames: int) -> bytes:
    """Return an Info frame for frames with such a header, and a silent frame.

    mpg123 removes the delay of the decoder from a file with an Info frame. The stated delay of the
    encoder fills the silent frame, so that exactly this frame is removed.
    """
    head = bytes([0xFF, header[1] | 1, 9 << 4 | header[2] & 0xC, header[3]])
    is_mono, is_low = header[3] >> 6 == 3, header[1] >> 3 & 3 != 3
    side = {(False, False): 32, (True, False): 17, (False, True): 17, (True, True): 9}
    delay = (576 if is_low else 1152) - _DECODER_DELAY
    text = struct.pack(">4sII9s12x", b"Info", 1, frames + 1, b"chirrup") + (delay << 12).to_bytes(
        3, "big"
    )
    info, size = head + bytes(side[is_mono, is_low]) + text, frame_bytes(head, 0)
    return info.ljust(size, b"\0") + head.ljust(size, b"\0")
