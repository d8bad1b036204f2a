"""Filters with the limits of the recipe, and scores of clips of speech."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chirrup.data.recipe import MEASURES, Recipe
from chirrup.data.store import Clip

ORDER = tuple(sorted(MEASURES))
"""Order of `Clip.figures`."""
BETTER = {"snr_db": 1, "bandwidth_hz": 1, "rt60_s": -1, "dnsmos": 1}
"""Figures of good speech: 1 if a higher value is better, and -1 if a lower value is."""


def figure(clip: Clip, name: str) -> float:
    """Return a figure of a clip, or NaN if it was not measured."""
    return clip.figures[ORDER.index(name)]


def refuse_outside_limits(clips: Iterable[Clip], recipe: Recipe) -> None:
    """Refuse clips without a licence, with the same audio as another, or outside the limits."""
    seen: set[int] = set()
    for clip in clips:
        if recipe.licence_required and not clip.licensed:
            clip.refuse("licence", "it has no licence: give --licence or name it in the recipe")
            continue
        if clip.content in seen and not recipe.duplicates:
            clip.refuse("duplicate", "it has the same audio as another recording")
            continue
        seen.add(clip.content)
        limits = recipe.filters.get(clip.filters)
        if limits is None:
            continue
        for low, bounds in ((True, limits.min), (False, limits.max)):
            for name, bound in bounds.items():
                value = figure(clip, name)
                if (value < bound) if low else (value > bound):  # a NaN is never refused
                    side = "below" if low else "above"
                    clip.refuse(name, f"{value:.4g} is {side} {bound:g}")
                    break
            if clip.reason:
                break


def scores(clips: Sequence[Clip], highest_hz: float) -> list[float]:
    """Return a score from 0 to 1 for each clip of speech: the mean of its ranks in `BETTER`.

    A figure that was not measured counts as the middle.

    Args:
        clips: the clips to compare.
        highest_hz: bandwidth above which clips count as equal, because resampling removes it.
    """
    ranks = []
    for name, sign in BETTER.items():
        values = np.array([figure(clip, name) for clip in clips]) * sign
        if name == "bandwidth_hz":
            values = np.minimum(values, highest_hz)
        known = ~np.isnan(values)
        if known.any():
            rank = np.full(len(values), 0.5)
            order = np.sort(values[known])
            low, high = (np.searchsorted(order, values[known], side) for side in ("left", "right"))
            rank[known] = (low + high) / 2 / len(order)
            ranks.append(rank)
    return np.mean(ranks, axis=0).tolist() if ranks else [0.5] * len(clips)


def output_band_hz(recipe: Recipe, kind: str) -> float:
    """Return half the sample rate at which a kind is written, in Hz."""
    output = recipe.output.get(kind)
    return output.rate_hz / 2 if output and output.rate_hz else math.inf
