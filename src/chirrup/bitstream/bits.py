"""Packing of integers of 1 to 16 bits, most significant bit first.

All integers of a call have the same width, because all codebooks of a model have the same size. The
last byte is padded with zero bits.
"""

import numpy as np
from numpy.typing import NDArray

from chirrup.errors import FormatError

MAX_BITS = 16


def code_dtype(bits: int) -> type[np.int16] | type[np.int32]:
    """Return the smallest signed type for codes: int32 if they have 16 bits, else int16."""
    return np.int16 if bits < MAX_BITS else np.int32


def packed_size(count: int, bits: int) -> int:
    """Return the number of bytes that ``count`` integers of ``bits`` bits take."""
    return (count * bits + 7) // 8


def pack(values: NDArray[np.integer], bits: int) -> bytes:
    """Pack integers.

    Args:
        values: integers from 0 to ``2**bits - 1`` of any shape, which are packed in C order.
        bits: width of an integer, 1 to 16.

    Raises:
        ValueError: the values are not integers or do not fit in ``bits`` bits.
    """
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"codes of {bits} bits are not supported: use 1 to {MAX_BITS} bits")
    flat = values.ravel()
    if not np.issubdtype(flat.dtype, np.integer):
        raise ValueError(f"codes must be integers, not {flat.dtype}")
    if flat.size and (flat.min() < 0 or flat.max() >= 1 << bits):
        raise ValueError(
            f"codes from {flat.min()} to {flat.max()} do not fit in {bits} bits: "
            f"use 0 to {(1 << bits) - 1}"
        )
    words = np.unpackbits(flat.astype(">u2").view(np.uint8)).reshape(-1, MAX_BITS)
    return np.packbits(words[:, MAX_BITS - bits :]).tobytes()


def unpack(data: bytes, bits: int, count: int, start: int = 0) -> NDArray[np.uint16]:
    """Unpack ``count`` integers of ``bits`` bits from byte ``start`` of ``data`` on.

    Returns:
        ``uint16 [count]``.

    Raises:
        FormatError: ``data`` is too short, or a padding bit is not zero.
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
