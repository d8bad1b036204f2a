"""Means over clips, how sure they are, and comparisons clip by clip.

Intervals come from a bootstrap that draws speakers, not clips: the clips of a speaker are alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 5000


class Interval(NamedTuple):
    """A mean, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """False of a single clip, which tells nothing of others."""
        return self.low < self.high


def interval(values: np.ndarray, speakers: Sequence[str]) -> Interval | None:
    """Mean of ``values [clips]`` and its 95 % interval; None if all are blank (NaN).

    With one speaker alone there is nothing to draw: clips are drawn instead.
    """
    values = np.asarray(values, np.float64)
    names, use = np.array(speakers), np.isfinite(values)
    if not use.any():
        return None
    if len(set(names[use])) == 1:
        names = np.arange(len(values)).astype(str)
    each = [values[use & (names == name)] for name in sorted(set(names[use]))]
    sums, counts = np.array([part.sum() for part in each]), np.array([len(part) for part in each])
    drawn = np.random.default_rng(0).integers(len(each), size=(DRAWS, len(each)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return Interval(float(values[use].mean()), float(low), float(high))


def paired(
    values: Sequence[float | None], others: Sequence[float | None], speakers: Sequence[str]
) -> Interval | None:
    """`interval` of ``values`` less ``others``, of the same clips; a blank in either is one."""
    differences = [
        np.nan if a is None or b is None else a - b for a, b in zip(values, others, strict=True)
    ]
    return interval(np.array(differences), speakers)
