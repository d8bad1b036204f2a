"""Balance of a corpus: even shares of hours for languages, genders, speakers and categories."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from chirrup.data.filters import output_band_hz, scores
from chirrup.data.recipe import SPEECH, Recipe
from chirrup.data.store import Clip


def order(seed: int, *parts: object) -> bytes:
    """Return a pseudo-random sort key that depends only on the arguments."""
    return hashlib.sha256(repr((seed, *parts)).encode()).digest()[:8]


def even_shares(amounts: Sequence[float], budget: float) -> list[float]:
    """Divide a budget as evenly as possible.

    Args:
        amounts: upper limit of each share.
        budget: sum of the shares, unless the limits are reached.

    Returns:
        The shares. All shares below their limits are equal.
    """
    left, shares = budget, [0.0] * len(amounts)
    places = sorted(range(len(amounts)), key=amounts.__getitem__)
    for done, place in enumerate(places):
        shares[place] = min(amounts[place], max(left, 0.0) / (len(places) - done))
        left -= shares[place]
    return shares


def speech(clips: Sequence[Clip], recipe: Recipe) -> None:
    """Refuse clips beyond the hours of a speaker or beyond the share of a class.

    The budget of a class is ``keep_share`` of all its hours, including refused clips. It is divided
    evenly among languages, then genders, then speakers. The best clips of a speaker are kept.
    """
    for name in SPEECH:
        every = [clip for clip in clips if clip.filters == name and clip.kind == "speech"]
        _keep_share(every, name, recipe)


def _keep_share(every: Sequence[Clip], name: str, recipe: Recipe) -> None:
    kept = [clip for clip in every if not clip.reason]
    ranks = scores(kept, output_band_hz(recipe, "speech"))
    good = {clip.id: rank for clip, rank in zip(kept, ranks)}
    limit = recipe.balance.speaker_hours * 3600
    if limit:
        for clips in _by(kept, lambda clip: clip.group).values():
            _take([clips], [limit], lambda clip: -good[clip.id], "speaker_hours", recipe)
    kept = [clip for clip in kept if not clip.reason]
    share = recipe.filters[name].keep_share if name in recipe.filters else 1.0
    budget = share * sum(clip.seconds for clip in every)
    if share >= 1 or budget >= sum(clip.seconds for clip in kept):
        return
    shares = _stratified(kept, budget, ("language", "gender", "group"))
    groups = _by(kept, lambda clip: clip.group)
    seconds = [shares[group] for group in groups]
    _take(groups.values(), seconds, lambda clip: -good[clip.id], "keep_share", recipe)


def _stratified(clips: Sequence[Clip], budget: float, strata: Sequence[str]) -> dict[str, float]:
    """Divide a budget evenly among strata.

    Args:
        clips: clips of all strata.
        budget: seconds to divide.
        strata: fields of `Clip`, from the largest stratum to the group.

    Returns:
        The seconds of each group. A group in two strata, such as a speaker of two languages, gets
        the sum.
    """
    inside = _by(clips, lambda clip: getattr(clip, strata[0]))
    shares = even_shares([sum(clip.seconds for clip in part) for part in inside.values()], budget)
    if len(strata) == 1:
        return dict(zip(inside, shares))
    found: dict[str, float] = defaultdict(float)
    for part, share in zip(inside.values(), shares):
        for group, seconds in _stratified(part, share, strata[1:]).items():
            found[group] += seconds
    return found


def noise(clips: Sequence[Clip], recipe: Recipe) -> None:
    """Refuse clips of frequent noise categories.

    No category keeps more than ``category_ratio`` times the hours of the median category. Within a
    category, recordings get even shares. Clips without a category stay.
    """
    kept = [clip for clip in clips if clip.kind == "noise" and not clip.reason and clip.category]
    categories = _by(kept, lambda clip: clip.category)
    if not recipe.balance.category_ratio or not categories:
        return
    hours = [sum(clip.seconds for clip in part) for part in categories.values()]
    limit = recipe.balance.category_ratio * float(np.median(hours))
    for part, seconds in zip(categories.values(), hours):
        if seconds <= limit:
            continue
        shares = _stratified(part, limit, ("group",))
        groups = _by(part, lambda clip: clip.group)
        wanted = [shares[group] for group in groups]
        _take(groups.values(), wanted, lambda clip: 0, "category_ratio", recipe)


def _take(
    groups: Iterable[Sequence[Clip]],
    seconds: Sequence[float],
    best: Callable[[Clip], float],
    reason: str,
    recipe: Recipe,
) -> None:
    """Keep the best clips of each group up to its seconds, and refuse the rest.

    Only whole clips are kept. The difference from the seconds is carried over to the next group.
    """
    left = 0.0
    for clips, share in zip(groups, seconds):
        left += share
        for clip in sorted(clips, key=lambda clip: (best(clip), order(recipe.seed, clip.content))):
            if clip.seconds / 2 <= left:
                left -= clip.seconds
            else:
                clip.refuse(reason, DETAILS[reason])


DETAILS = {
    "speaker_hours": "its speaker has reached the limit of hours",
    "keep_share": "other clips of its language, gender and speaker are better",
    "category_ratio": "its category has reached the limit of hours",
}


def _by(clips: Iterable[Clip], key: Callable[[Clip], Hashable]) -> dict[str, list[Clip]]:
    """Group clips by a key, in the order in which the keys occur."""
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        found[str(key(clip))].append(clip)
    return found
