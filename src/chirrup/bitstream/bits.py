"""Integers of 1 to 16 bits, packed most significant bit first.

One width serves a whole call: all codebooks of a model have the same size, so a file or packet
needs one number, not a list. The last byte is padded with zero bits.
"""

import numpy as np
from numpy.typing import NDArray

from chirrup.errors import FormatError

MAX_BITS = 16


def code_dtype(bits: int) -> type[np.int16] | type[np.int32]:
    """The dtype of codes of `bits` bits in which -1 (absent) has room: int16, for 16 bits int32."""
    return np.int16 if bits < MAX_BITS else np.int32


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` integers of `bits` bits take."""
    return (count * bits + 7) // 8


def pack(values: NDArray[np.integer], bits: int) -> bytes:
    """Packs integers from 0 to 2**bits - 1, of any shape, in C order. ValueError beyond that."""
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"codes of {bits} bits, must be 1 to {MAX_BITS}")
    flat = values.ravel()
    if not np.issubdtype(flat.dtype, np.integer):
        raise ValueError(f"codes must be integers, not {flat.dtype}")
    if flat.size and (flat.min() < 0 or flat.max() >= 1 << bits):
        raise ValueError(
            f"codes from {flat.min()} to {flat.max()} do not fit in {bits} bits: "
            f"allowed are 0 to {(1 << bits) - 1}"
        )
    words = np.unpackbits(flat.astype(">u2").view(np.uint8)).reshape(-1, MAX_BITS)
    return np.packbits(words[:, MAX_BITS - bits :]).tobytes()


def unpack(data: bytes, bits: int, count: int, start: int = 0) -> NDArray[np.uint16]:
    """Reads `count` integers of `bits` bits from byte `start` of `data` on.

    Returns uint16 `[count]`. FormatError when `data` is too short or a padding bit is set.
    """
    stop = start + packed_size(count, bits)
    if stop > len(data):
        raise FormatError(f"{count} codes of {bits} bits need {stop} bytes", len(data))
    packed = np.frombuffer(data, np.uint8, stop - start, start)
    stream = np.unpackbits(packed)
    if stream[count * bits :].any():
        raise FormatError("padding bits must be zero", stop - 1)
    words = np.zeros((count, MAX_BITS), np.uint8)
    words[:, MAX_BITS - bits :] = stream[: count * bits].reshape(count, bits)
    return np.packbits(words).view(">u2").astype(np.uint16)
