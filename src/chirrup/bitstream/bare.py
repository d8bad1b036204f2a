"""Bare frames: a fixed number of bits for each frame, without any header.

Both ends agree on the model, the bitrate and the number of bits beforehand. Bits that the codes do
not need are spare; `side_text` puts text into them. docs/reference/format.md describes the layout.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chirrup.bitstream.bits import code_dtype

MAX_SPARE_BITS: Final = 64
END_FRAMES: Final = 3
"""End marks that a sender writes after an over."""


@dataclass(frozen=True)
class BareFrame:
    """One frame.

    Attributes:
        codes: ``int [codebooks]``. A value beyond the codebook and all codes after it are -1.
        spare: the spare bits, ``uint8 [spare bits]``.
    """

    codes: NDArray[np.integer]
    spare: NDArray[np.uint8]


@dataclass(frozen=True)
class BareFormat:
    """The layout of bare frames, which does not change within a stream.

    Attributes:
        codebooks: number of codes of a frame.
        bits_per_code: bits of a code.
        bits: bits of a frame.

    Raises:
        ValueError: the codes do not fit, or there are too many spare bits.
    """

    codebooks: int
    bits_per_code: int
    bits: int

    def __post_init__(self) -> None:
        least = self.codebooks * self.bits_per_code
        low, high = max(8, least), least + MAX_SPARE_BITS
        if self.bits not in range(low, high + 1):
            raise ValueError(
                f"{self.bits} bits a frame do not fit {self.codebooks} x {self.bits_per_code} bits "
                f"of codes: use {low} to {high}"
            )

    @property
    def code_bits(self) -> int:
        """Bits of a frame that are codes."""
        return self.codebooks * self.bits_per_code

    @property
    def spare_bits(self) -> int:
        """Bits of a frame after the codes."""
        return self.bits - self.code_bits

    @property
    def tolerance(self) -> int:
        """Most zero bits of an end mark."""
        return self.bits // 32

    def pack(self, codes: NDArray[np.integer], spare: Iterable[int] = ()) -> NDArray[np.uint8]:
        """Return the bits of a frame, ``uint8 [bits]``.

        Codes that would look like an end mark lose their lowest bits.

        Args:
            codes: ``int [codebooks]``.
            spare: the first spare bits; the others are zero.
        """
        values = codes.astype(np.int64)
        if len(values) != self.codebooks or values.min() < 0 or values.max() >> self.bits_per_code:
            raise ValueError(
                f"codes must be {self.codebooks} numbers of {self.bits_per_code} bits, not "
                f"{codes.tolist()}"
            )
        places = np.arange(self.bits_per_code)[::-1]
        frame = np.zeros(self.bits, np.uint8)
        frame[: self.code_bits] = (values[:, None] >> places & 1).ravel()
        if np.count_nonzero(frame[: self.code_bits] == 0) <= self.tolerance:
            frame[self.code_bits - self.tolerance - 1 : self.code_bits] = 0
        given = np.fromiter(spare, np.uint8)
        frame[self.code_bits : self.code_bits + len(given)] = given
        return frame

    @property
    def end_mark(self) -> NDArray[np.uint8]:
        """The bits of a frame that ends an over."""
        return np.ones(self.bits, np.uint8)

    def unpack(self, frame: NDArray[np.uint8], codebook_size: int) -> BareFrame | None:
        """Unpack the bits of a frame; return None for an end mark."""
        if np.count_nonzero(frame == 0) <= self.tolerance:
            return None
        powers = 1 << np.arange(self.bits_per_code)[::-1]
        codes = frame[: self.code_bits].reshape(self.codebooks, -1).astype(np.int64) @ powers
        known = np.logical_and.accumulate(codes < codebook_size)
        codes = np.where(known, codes, -1).astype(code_dtype(self.bits_per_code))
        return BareFrame(codes, frame[self.code_bits :])


class BitWriter:
    """Conversion of bits to bytes, most significant bit first."""

    def __init__(self) -> None:
        self.waiting = np.zeros(0, np.uint8)

    def push(self, bits: NDArray[np.uint8]) -> bytes:
        """Return the bytes that are complete."""
        bits = np.concatenate([self.waiting, bits])
        whole = len(bits) - len(bits) % 8
        self.waiting = bits[whole:]
        return np.packbits(bits[:whole]).tobytes()

    def flush(self) -> bytes:
        """Return the last byte, filled up with zero bits, or nothing."""
        rest, self.waiting = np.packbits(self.waiting).tobytes(), self.waiting[:0]
        return rest


def frames_of(pieces: Iterable[bytes], bits: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a stream of bytes as ``uint8 [bits]``, each as soon as it is complete.

    An incomplete frame at the end is left out.
    """
    waiting = np.zeros(0, np.uint8)
    for data in pieces:
        waiting = np.concatenate([waiting, np.unpackbits(np.frombuffer(data, np.uint8))])
        whole = len(waiting) // bits
        yield from waiting[: whole * bits].reshape(whole, bits)
        waiting = waiting[whole * bits :]
