"""How much of its codebooks a model uses, and how many bits its codes are worth."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chirrup.codec import Codec


@dataclass(frozen=True)
class Usage:
    """Of all codes of a model at a bitrate.

    Attributes:
        codes: how many there were, in each codebook.
        used_percent: entries that occur, of all; mean over the codebooks. It cannot be more than
            ``codes`` of them.
        entropy_bits: of one code by how often each entry occurs, mean over the codebooks; at most
            the binary logarithm of ``codes``.
        bits_per_code: what a code takes in the stream.
    """

    codes: int
    used_percent: float
    entropy_bits: float
    bits_per_code: int


def entropy_bits(counts: np.ndarray) -> float:
    """Bits that an entry is worth, of entries that occur ``counts`` times."""
    share = counts[counts > 0] / counts.sum()
    return float(-np.sum(share * np.log2(share)))


def usage(codec: Codec, signals: Iterable[np.ndarray], bitrate_bps: int) -> Usage:
    """Code ``signals``, each ``float32 [samples]`` at ``input_rate_hz``, and count.

    Raises:
        ValueError: there is nothing to code, or no such bitrate.
    """
    coded = [codec.encode(signal, bitrate_bps).data for signal in signals]
    if not sum(data.size for data in coded):
        raise ValueError("no signal is given, so there are no codes to count")
    books = np.concatenate(coded, axis=1)
    size = codec.codebook_size
    counts = np.stack([np.bincount(book, minlength=size) for book in books])
    return Usage(
        codes=books.shape[1],
        used_percent=100 * float((counts > 0).mean()),
        entropy_bits=float(np.mean([entropy_bits(book) for book in counts])),
        bits_per_code=codec.bits_per_code,
    )
