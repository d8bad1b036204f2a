"""The limits of the recipe, and a rank among what is within them."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chirrup.data.recipe import MEASURES, Recipe
from chirrup.data.store import Clip

ORDER = tuple(sorted(MEASURES))
"""Of `Clip.figures`."""
BETTER = {"snr_db": 1, "bandwidth_hz": 1, "rt60_s": -1, "dnsmos": 1}
"""What makes speech good, and whether more of it is better."""


def figure(clip: Clip, name: str) -> float:
    return clip.figures[ORDER.index(name)]


def refuse_what_is_out_of_limits(clips: Iterable[Clip], recipe: Recipe) -> None:
    """Refuse what has no licence, is the same audio as another, or breaks a limit of its class."""
    seen: set[int] = set()
    for clip in clips:
        if recipe.licence_required and not clip.licensed:
            clip.refuse("licence", "no licence: give --licence or name it in the recipe")
            continue
        if clip.content in seen and not recipe.duplicates:
            clip.refuse("duplicate", "the same audio as another recording")
            continue
        seen.add(clip.content)
        limits = recipe.filters.get(clip.filters)
        if limits is None:
            continue
        for low, bounds in ((True, limits.min), (False, limits.max)):
            for name, bound in bounds.items():
                value = figure(clip, name)
                if (value < bound) if low else (value > bound):  # never true of nan
                    side = "below" if low else "above"
                    clip.refuse(name, f"{value:.4g} is {side} {bound:g}")
                    break
            if clip.reason:
                break


def scores(clips: Sequence[Clip], highest_hz: float) -> list[float]:
    """How good each clip of speech is among the others, 0 to 1: the mean of its ranks in
    `BETTER`. A figure that could not be measured counts as the middle.

    Args:
        highest_hz: bandwidth that counts; more does not survive the output's rate.
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
    """Half the rate that a kind is written at."""
    output = recipe.output.get(kind)
    return output.rate_hz / 2 if output and output.rate_hz else math.inf
