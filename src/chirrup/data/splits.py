"""Assignment of splits, such that no speaker, track or recording is in two of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from chirrup.data.balance import order
from chirrup.data.item import SPLITS
from chirrup.data.recipe import Recipe
from chirrup.data.store import Clip

DETAIL = "its speaker, track or recording is also in {}"


def assign(clips: Sequence[Clip], recipe: Recipe) -> None:
    """Assign a split to every kept clip.

    Splits that a source defines stay. A clip is refused if its group is also in a more reserved
    split of the source. From sources without such a split, whole groups are drawn for validation
    and test, evenly from languages, genders and categories.
    """
    kept = [clip for clip in clips if not clip.reason]
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in kept:
        clip.split = clip.given_split if recipe.splits.given else ""
        groups[clip.group].append(clip)
    for members in groups.values():
        _most_reserved(members, recipe.splits.overlap)
    for kind in sorted({clip.kind for clip in kept}):
        for split in ("test", "validation"):
            _draw([clip for clip in kept if clip.kind == kind], split, recipe)
    for clip in kept:
        if not clip.reason:
            clip.split = clip.split or SPLITS[0]


def _most_reserved(members: Sequence[Clip], overlap: bool) -> None:
    """Keep only the most reserved split of a group, and assign it to clips without a split."""
    reserved = max((clip.split for clip in members), key=("", *SPLITS).index)
    for clip in members:
        if clip.split in ("", reserved):
            clip.split = reserved
        elif not overlap:
            clip.refuse("split", DETAIL.format(reserved))


def _draw(clips: Sequence[Clip], split: str, recipe: Recipe) -> None:
    """Move groups from train, or without a split, to ``split``.

    If there are two or more groups, at least one group is moved, and never all.
    """
    share = getattr(recipe.splits, split)
    have = {clip.source for clip in clips if clip.split == split}
    pool: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if not clip.reason and clip.source not in have and clip.split in ("", SPLITS[0]):
            pool[clip.group].append(clip)
    if not share or len(pool) < 2:
        return
    seconds = {group: sum(clip.seconds for clip in part) for group, part in pool.items()}
    budget = share * sum(seconds.values())
    moved: list[str] = []
    for group in _alternating(pool, recipe.seed, split):
        if seconds[group] <= 1.5 * budget:
            moved.append(group)
            budget -= seconds[group]
        if budget <= 0:
            break
    if not moved:
        moved = [min(seconds, key=lambda group: (seconds[group], group))]
    for group in moved[: len(pool) - 1]:
        for clip in pool[group]:
            clip.split = split


def _alternating(groups: dict[str, list[Clip]], seed: int, split: str) -> Iterable[str]:
    """Yield all groups in random order, alternating between languages, genders and categories.

    The first halves of all strata come before the second halves, so that training keeps some groups
    of each stratum.
    """
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: order(seed, split, group)):
        first = groups[group][0]
        strata[first.language, first.gender, first.category].append(group)
    lists = sorted(strata.values(), key=lambda part: order(seed, split, part[0]))
    halves = [part[: len(part) // 2] for part in lists], [part[len(part) // 2 :] for part in lists]
    for parts in halves:
        for turn in range(max(map(len, parts), default=0)):
            yield from (part[turn] for part in parts if turn < len(part))
