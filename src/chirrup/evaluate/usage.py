"""Measure codebook usage and the entropy of the codes of a model."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chirrup.codec import Codec


@dataclass(frozen=True)
class Usage:
    """Usage of the codebooks of a model at a bitrate.

    Attributes:
        codes: number of codes in each codebook. If it is small, it limits the other figures.
        used_percent: share of the entries that occur, mean over the codebooks.
        entropy_bits: entropy of a code, from the frequency of each entry, mean over the codebooks.
        bits_per_code: size of a code in the stream.
    """

    codes: int
    used_percent: float
    entropy_bits: float
    bits_per_code: int


def entropy_bits(counts: np.ndarray) -> float:
    """Return the entropy of entries that occur ``counts`` times."""
    share = counts[counts > 0] / counts.sum()
    return float(-np.sum(share * np.log2(share)))


def usage(codec: Codec, signals: Iterable[np.ndarray], bitrate_bps: int) -> Usage:
    """Encode signals and count their codes.

    Args:
        signals: each ``float32 [samples]`` at ``input_rate_hz``.

    Raises:
        ValueError: there are no signals, or the model does not have the bitrate.
    """
    coded = [codec.encode(signal, bitrate_bps).data for signal in signals]
    if not sum(data.size for data in coded):
        raise ValueError("there are no codes to count: give at least one signal")
    books = np.concatenate(coded, axis=1)
    size = codec.codebook_size
    counts = np.stack([np.bincount(book, minlength=size) for book in books])
    return Usage(
        codes=books.shape[1],
        used_percent=100 * float((counts > 0).mean()),
        entropy_bits=float(np.mean([entropy_bits(book) for book in counts])),
        bits_per_code=codec.bits_per_code,
    )
