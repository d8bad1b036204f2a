"""Means over clips, their confidence intervals, and comparisons clip by clip.

The bootstrap of an interval draws speakers, not clips, because the clips of a speaker are alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 5000


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval. A single clip has none."""
        return self.low < self.high


def interval(values: np.ndarray, speakers: Sequence[str]) -> Interval | None:
    """Compute the mean of ``values [clips]`` and its 95 % interval.

    NaN is a blank value. If there is one speaker, the bootstrap draws clips.

    Returns:
        None if all values are blank.
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
    """Compute `interval` of ``values`` minus ``others``, which are of the same clips.

    None is a blank value. The difference is blank if either value is.
    """
    differences = [
        np.nan if a is None or b is None else a - b for a, b in zip(values, others, strict=True)
    ]
    return interval(np.array(differences), speakers)
