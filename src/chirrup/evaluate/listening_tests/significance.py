"""Intervals and tests of significance for the ratings of listeners."""

import math
from collections.abc import Sequence

import numpy as np

from chirrup.evaluate.statistics import DRAWS, Interval

EXACT_SIGNS = 14
"""Most differences whose signs are all tried; for more, `RANDOM_SIGNS` are drawn."""
RANDOM_SIGNS = 20_000


def bootstrapped(grid: np.ndarray) -> Interval:
    """Return the mean of ``[listeners, clips]`` without NaN, and its interval.

    Each draw draws listeners and clips with replacement.
    """
    random, known = np.random.default_rng(0), np.isfinite(grid)
    listeners, clips = (
        random.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float)
        for size in grid.shape
    )
    sums = ((listeners @ np.where(known, grid, 0)) * clips).sum(1)
    counts = ((listeners @ known.astype(float)) * clips).sum(1)
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(grid[known].mean()), float(low), float(high))


def sign_flip(differences: np.ndarray) -> float:
    """Return the two-sided p value of a permutation test that the mean difference is 0."""
    size = len(differences)
    if size <= EXACT_SIGNS:
        signs = 1 - 2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1)
        extra = 0
    else:
        signs = 1 - 2 * np.random.default_rng(0).integers(2, size=(RANDOM_SIGNS, size))
        extra = 1  # the observed signs are one of the draws
    sums = np.abs(signs @ differences)
    count = int((sums >= abs(differences.sum()) * (1 - 1e-9)).sum())
    return (count + extra) / (len(signs) + extra)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p values by Holm's step-down method."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    corrected, highest = [1.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected


def binomial_tail(right: int, count: int, chance: float) -> float:
    """Return the probability of at least ``right`` successes in ``count`` trials."""
    if chance <= 0 or right <= 0:
        return float(right <= 0)
    if chance >= 1:
        return 1.0
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(chance)
        + (count - k) * math.log1p(-chance)
        for k in range(right, count + 1)
    ]
    return min(1.0, math.fsum(map(math.exp, logs)))


def clopper_pearson(right: int, count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a probability."""

    def solved(successes: int, tail: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if binomial_tail(successes, count, middle) < tail else (low, middle)
            )
        return (low + high) / 2

    lower = solved(right, 0.025) if right else 0.0
    upper = solved(right + 1, 0.975) if right < count else 1.0
    return lower, upper
