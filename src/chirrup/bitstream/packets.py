"""Live packets: one byte of header, then bit-packed codes; each packet is decodable on its own.

    version (2 bits) | profile (3) | frames - 1 (2) | redundancy (1)      the TOC byte
    earlier frames - 1 (4 bits) | their codebooks - 1 (4)                  if redundancy is 1
    codes of the frames, then codes of the earlier frames, then zero bits to the full byte

The number of codebooks follows from the length. There is no sequence number: RTP, or whatever
carries the packets, has one. A packet is for one channel, or for all that a model codes jointly;
send one packet per channel for more.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chirrup.errors import FormatError

from .bits import code_dtype, pack, unpack

MAX_PACKET_FRAMES: Final = 4
MAX_REDUNDANT: Final = 16  # frames, and codebooks of each

_VERSION = 0
_PROFILE = 0  # codes of fixed width


@dataclass(frozen=True)
class Packet:
    """Codes `[codebooks, frames]`, and the first codebooks of the frames directly before them."""

    codes: NDArray[np.integer]
    redundant: NDArray[np.integer] | None = None


def pack_packet(
    codes: NDArray[np.integer], redundant: NDArray[np.integer] | None, bits_per_code: int
) -> bytes:
    """Packs 1 to 4 frames of codes `[codebooks, frames]`, none of them absent.

    `redundant` `[up to 16 codebooks, up to 16 frames]` repeats the frames directly before these,
    oldest first. ValueError when a shape or code does not fit.
    """
    codebooks, frames = codes.shape
    if not (codebooks >= 1 and 1 <= frames <= MAX_PACKET_FRAMES):
        raise ValueError(f"codes are {codes.shape}, must be [1 or more, 1 to {MAX_PACKET_FRAMES}]")
    if not _length_tells_codebooks(frames, bits_per_code):
        raise ValueError(
            f"a packet needs {-(-8 // bits_per_code)} frames or more of {bits_per_code}-bit codes, "
            f"not {frames}: its length could not tell the number of codebooks"
        )
    toc = _VERSION << 6 | _PROFILE << 3 | (frames - 1) << 1
    if redundant is None:
        return bytes([toc]) + pack(codes.T, bits_per_code)
    extra_codebooks, extra_frames = redundant.shape
    if not (1 <= extra_codebooks <= MAX_REDUNDANT and 1 <= extra_frames <= MAX_REDUNDANT):
        raise ValueError(
            f"redundant codes are {redundant.shape}, must be 1 to {MAX_REDUNDANT} each way"
        )
    extent = (extra_frames - 1) << 4 | (extra_codebooks - 1)
    both = np.concatenate([codes.T.ravel(), redundant.T.ravel()])
    return bytes([toc | 1, extent]) + pack(both, bits_per_code)


def unpack_packet(
    data: bytes, bits_per_code: int, max_codebooks: int, codebook_size: int | None = None
) -> Packet:
    """Unpacks a packet of a model with up to `max_codebooks` codebooks.

    Codes are int16 (int32 for 16 bits). They are below `codebook_size`, by default the largest
    that `bits_per_code` can count. FormatError for anything that `pack_packet` cannot have made
    for this model.
    """
    if not data:
        raise FormatError("an empty packet", 0)
    toc = data[0]
    if toc >> 6 != _VERSION or toc >> 3 & 7 != _PROFILE:
        raise FormatError(
            f"packet version {toc >> 6} profile {toc >> 3 & 7} is not known here: "
            "use another Chirrup release",
            0,
        )
    frames = (toc >> 1 & 3) + 1
    if not _length_tells_codebooks(frames, bits_per_code):
        raise FormatError(f"too few frames of {bits_per_code}-bit codes: {frames}", 0)
    start, extra_frames, extra_codebooks = 1, 0, 0
    if toc & 1:
        if len(data) < 2:
            raise FormatError("the packet ends before its redundancy byte", 1)
        start, extra_frames, extra_codebooks = 2, (data[1] >> 4) + 1, (data[1] & 15) + 1
    extra = extra_frames * extra_codebooks
    bits = (len(data) - start) * 8 - extra * bits_per_code
    codebooks, padding = divmod(bits, frames * bits_per_code)
    if codebooks < 1 or padding > 7:
        raise FormatError("no number of codebooks gives a packet of this length", len(data))
    if max(codebooks, extra_codebooks) > max_codebooks:
        raise FormatError(f"more codebooks than the {max_codebooks} of the model", start)
    count = frames * codebooks
    flat = unpack(data, bits_per_code, count + extra, start).astype(code_dtype(bits_per_code))
    if codebook_size is not None and (largest := int(flat.max())) >= codebook_size:
        raise FormatError(f"code {largest} is not in a codebook of {codebook_size} entries", start)
    codes = flat[:count].reshape(frames, codebooks).T
    redundant = flat[count:].reshape(extra_frames, extra_codebooks).T if extra else None
    return Packet(codes, redundant)


def _length_tells_codebooks(frames: int, bits_per_code: int) -> bool:
    """Whether one more codebook makes a packet longer by a byte at least."""
    return frames * bits_per_code >= 8
