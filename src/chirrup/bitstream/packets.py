"""Live packets: one byte of header and bit-packed codes. Each packet can be parsed on its own.

    version (2 bits) | profile (3) | frames - 1 (2) | redundancy (1)      the TOC byte
    earlier frames - 1 (4 bits) | their codebooks - 1 (4)                  if redundancy is 1
    codes of the frames, then codes of the earlier frames, then zero bits to the full byte

The number of codebooks follows from the length of the packet. There is no sequence number, because
a transport such as RTP has one. A packet holds one channel, or all channels of a model that codes
them jointly.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chirrup.bitstream.bits import code_dtype, pack, unpack
from chirrup.errors import FormatError
from chirrup.words import counted

MAX_PACKET_FRAMES: Final = 4
MAX_REDUNDANT: Final = 16  # for frames and for codebooks

_VERSION = 0
_PROFILE = 0  # codes of fixed width


@dataclass(frozen=True)
class Packet:
    """The content of a packet.

    Attributes:
        codes: ``int [codebooks, frames]``.
        redundant: codes ``[codebooks, frames]`` that repeat the first codebooks of the frames
            directly before ``codes``, or None.
    """

    codes: NDArray[np.integer]
    redundant: NDArray[np.integer] | None = None


def pack_packet(
    codes: NDArray[np.integer], redundant: NDArray[np.integer] | None, bits_per_code: int
) -> bytes:
    """Pack the codes of a packet.

    Args:
        codes: ``int [codebooks, frames]`` with 1 to 4 frames and no absent code.
        redundant: codes that repeat the frames directly before ``codes``, oldest first, with at
            most 16 codebooks and 16 frames. None repeats nothing.
        bits_per_code: width of a code.

    Raises:
        ValueError: a shape or a code does not fit.
    """
    codebooks, frames = codes.shape
    if not (codebooks >= 1 and 1 <= frames <= MAX_PACKET_FRAMES):
        raise ValueError(f"codes are {codes.shape}, must be [1 or more, 1 to {MAX_PACKET_FRAMES}]")
    if not _length_determines_codebooks(frames, bits_per_code):
        needed = counted(-(-8 // bits_per_code), "frame")
        raise ValueError(
            f"a packet needs {needed} or more of {bits_per_code}-bit codes, "
            f"not {frames}: with fewer, the number of codebooks does not follow from its length"
        )
    toc = _VERSION << 6 | _PROFILE << 3 | (frames - 1) << 1
    if redundant is None:
        return bytes([toc]) + pack(codes.T, bits_per_code)
    extra_codebooks, extra_frames = redundant.shape
    if not (1 <= extra_codebooks <= MAX_REDUNDANT and 1 <= extra_frames <= MAX_REDUNDANT):
        raise ValueError(
            f"redundant codes are {redundant.shape}, must be [1 to {MAX_REDUNDANT}, "
            f"1 to {MAX_REDUNDANT}]"
        )
    extent = (extra_frames - 1) << 4 | (extra_codebooks - 1)
    both = np.concatenate([codes.T.ravel(), redundant.T.ravel()])
    return bytes([toc | 1, extent]) + pack(both, bits_per_code)


def unpack_packet(
    data: bytes, bits_per_code: int, max_codebooks: int, codebook_size: int | None = None
) -> Packet:
    """Unpack a packet.

    Args:
        data: the packet.
        bits_per_code: width of a code.
        max_codebooks: number of codebooks of the model.
        codebook_size: number of values of a code. None is ``2**bits_per_code``.

    Returns:
        The packet, whose codes are int16, or int32 if codes have 16 bits.

    Raises:
        FormatError: the packet is malformed, or does not fit the model.
    """
    if not data:
        raise FormatError("the packet is empty", 0)
    toc = data[0]
    if toc >> 6 != _VERSION or toc >> 3 & 7 != _PROFILE:
        raise FormatError(
            f"packet version {toc >> 6} profile {toc >> 3 & 7} is not supported",
            0,
            "use another chirrup release",
        )
    frames = (toc >> 1 & 3) + 1
    if not _length_determines_codebooks(frames, bits_per_code):
        raise FormatError(f"a packet has too few frames of {bits_per_code}-bit codes: {frames}", 0)
    start, extra_frames, extra_codebooks = 1, 0, 0
    if toc & 1:
        if len(data) < 2:
            raise FormatError("the packet ends before its redundancy byte", 1)
        start, extra_frames, extra_codebooks = 2, (data[1] >> 4) + 1, (data[1] & 15) + 1
    extra = extra_frames * extra_codebooks
    bits = (len(data) - start) * 8 - extra * bits_per_code
    codebooks, padding = divmod(bits, frames * bits_per_code)
    if codebooks < 1 or padding > 7:
        raise FormatError("the length of the packet fits no number of codebooks", len(data))
    if max(codebooks, extra_codebooks) > max_codebooks:
        raise FormatError(
            f"the packet has more codebooks than the {max_codebooks} of the model", start
        )
    count = frames * codebooks
    flat = unpack(data, bits_per_code, count + extra, start).astype(code_dtype(bits_per_code))
    if codebook_size is not None and (largest := int(flat.max())) >= codebook_size:
        raise FormatError(
            f"code {largest} is too large for a codebook of {codebook_size} entries", start
        )
    codes = flat[:count].reshape(frames, codebooks).T
    redundant = flat[count:].reshape(extra_frames, extra_codebooks).T if extra else None
    return Packet(codes, redundant)


def peek_packet(data: bytes) -> tuple[int, bool]:
    """Read the header byte of a packet without checks; an empty packet counts as one frame.

    Returns:
        The number of frames, and whether the packet repeats earlier frames.
    """
    toc = data[0] if data else 0
    return (toc >> 1 & 3) + 1, bool(toc & 1)


def _length_determines_codebooks(frames: int, bits_per_code: int) -> bool:
    """Return whether a further codebook lengthens a packet by at least a byte."""
    return frames * bits_per_code >= 8
