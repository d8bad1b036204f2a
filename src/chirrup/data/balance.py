"""Who and what gets how many hours: a budget poured evenly over languages, genders and speakers,
and noise categories thinned to a common height."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from chirrup.data.filters import output_band_hz, scores
from chirrup.data.recipe import SPEECH, Recipe
from chirrup.data.store import Clip


def order(seed: int, *parts: object) -> bytes:
    """A number as good as random for these parts, the same in every run."""
    return hashlib.sha256(repr((seed, *parts)).encode()).digest()[:8]


def poured(amounts: Sequence[float], budget: float) -> list[float]:
    """Shares of a budget, as even as the ``amounts`` that there are allow: all are filled up to
    one level, like vessels of different heights."""
    left, shares = budget, [0.0] * len(amounts)
    places = sorted(range(len(amounts)), key=amounts.__getitem__)
    for done, place in enumerate(places):
        shares[place] = min(amounts[place], max(left, 0.0) / (len(places) - done))
        left -= shares[place]
    return shares


def speech(clips: Sequence[Clip], recipe: Recipe) -> None:
    """Refuse what is over a speaker's hours or over the share of its class.

    The budget of a class is ``keep_share`` of the hours that could be read, refused ones among
    them. It is poured over languages, then genders, then speakers; of a speaker the best are kept.
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
    """Seconds of each group, the last of ``strata``, which are names of `Clip`'s fields.

    A group that lies in two strata, a speaker of two languages, gets the sum.
    """
    inside = _by(clips, lambda clip: getattr(clip, strata[0]))
    shares = poured([sum(clip.seconds for clip in part) for part in inside.values()], budget)
    if len(strata) == 1:
        return dict(zip(inside, shares))
    found: dict[str, float] = defaultdict(float)
    for part, share in zip(inside.values(), shares):
        for group, seconds in _stratified(part, share, strata[1:]).items():
            found[group] += seconds
    return found


def noise(clips: Sequence[Clip], recipe: Recipe) -> None:
    """Thin the frequent categories: none gets more than ``category_ratio`` times the hours of the
    median one, and within it all recordings get as even a share as they can fill.

    What has no category is left as it is.
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
    """Keep the best of each group up to its seconds, and refuse the rest.

    What whole clips leave over or take too much, the next group gets or lacks.
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
    "speaker_hours": "its speaker has as many hours as are wanted",
    "keep_share": "others of its language, gender and speaker are better",
    "category_ratio": "its category has as many hours as are wanted",
}


def _by(clips: Iterable[Clip], key: Callable[[Clip], Hashable]) -> dict[str, list[Clip]]:
    """Clips by a field, in the order of first sight."""
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        found[str(key(clip))].append(clip)
    return found
