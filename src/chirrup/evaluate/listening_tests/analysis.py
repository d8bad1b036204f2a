"""Compute the tables of a listening test from the ratings.

Intervals are 95 % intervals of a bootstrap that draws listeners and clips independently. A pair of
systems is tested with the listeners' mean differences, because the ratings of one listener are not
independent; if there is one listener, with the differences of the clips. Holm's method corrects the
p values for the number of pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from chirrup.evaluate.listening_tests.items import REFERENCE
from chirrup.evaluate.listening_tests.ratings import Key, Submission
from chirrup.evaluate.listening_tests.significance import (
    binomial_tail,
    bootstrapped,
    clopper_pearson,
    holm,
    sign_flip,
)
from chirrup.evaluate.listening_tests.words import FEATURES
from chirrup.evaluate.listening_tests.writer import ANCHOR
from chirrup.evaluate.statistics import Interval

HIDDEN_SCORE, HIDDEN_SHARE = 90, 0.15
"""Post-screening of ITU-R BS.1534-3: a listener is excluded who scores the hidden reference below
the score in more than the share of the trials."""


@dataclass(frozen=True)
class Line:
    """A line of a table: a system, or a system less another.

    Attributes:
        condition: name of the condition.
        values: means with intervals, by column; None is blank.
        count: number of ratings.
        p: p value, corrected for the number of tests; None if there is no test.
    """

    condition: str
    title: str
    values: Mapping[str, Interval | None]
    count: int
    p: float | None = None


@dataclass(frozen=True)
class Table:
    """The result of a test.

    Attributes:
        listeners: number of listeners whose ratings count.
        excluded: reason of each listener's exclusion.
        lines: the systems, best first.
        pairs: each system less each other system (``mushra``).
    """

    kind: str
    listeners: int
    excluded: dict[str, str]
    lines: list[Line]
    pairs: list[Line]


def analyse(key: Key, submissions: Mapping[str, Submission]) -> Table:
    """Compute the table of a test of any kind."""
    excluded = screened(key, submissions) if key.kind == "mushra" else {}
    kept = [value for name, value in submissions.items() if name not in excluded]
    lines, pairs = {"mushra": _mushra, "abx": _abx, "drt": _drt}[key.kind](key, kept)
    return Table(key.kind, len(kept), excluded, lines, pairs)


def screened(key: Key, submissions: Mapping[str, Submission]) -> dict[str, str]:
    """Return the reason of each listener that BS.1534's rule on the hidden reference excludes."""
    excluded = {}
    for name, submission in submissions.items():
        scores = [
            score
            for given in submission.ratings.values()
            if isinstance(given, dict)
            for sound, score in given.items()
            if key.sounds[sound]["system"] == REFERENCE
        ]
        low = sum(score < HIDDEN_SCORE for score in scores)
        if low > HIDDEN_SHARE * len(scores):
            excluded[name] = (
                f"scored the hidden reference below {HIDDEN_SCORE} in {low} of {len(scores)} trials"
            )
    return excluded


# --- the three kinds ----------------------------------------------------------------------------

Ratings = dict[tuple[str, str], dict[tuple[str, str], list[float]]]
"""Values by (condition, system), then by (listener, clip)."""


def _mushra(key: Key, kept: Sequence[Submission]) -> tuple[list[Line], list[Line]]:
    found: Ratings = {}
    for submission in kept:
        for given in submission.ratings.values():
            for sound, score in given.items() if isinstance(given, dict) else ():
                fact = key.sounds[sound]
                place = found.setdefault((fact["condition"], fact["system"]), {})
                place.setdefault((submission.listener, fact["clip"]), []).append(score)
    lines = []
    for (condition, system), values in found.items():
        mean = bootstrapped(_grid(values))
        title = _title(key, system)
        lines.append(Line(condition, title, {"score": mean}, sum(map(len, values.values()))))
    lines.sort(key=lambda line: (line.condition, -_mean(line)))
    return lines, _pairs(key, found)


def _pairs(key: Key, found: Ratings) -> list[Line]:
    """Compare all systems that are neither the reference nor an anchor."""
    lines = []
    for condition in dict.fromkeys(condition for condition, _ in found):
        systems = [
            system
            for other, system in found
            if other == condition and system != REFERENCE and not system.startswith(ANCHOR)
        ]
        systems.sort(key=lambda system: -float(np.nanmean(_grid(found[condition, system]))))
        for better, worse in combinations(systems, 2):
            a, b = found[condition, better], found[condition, worse]
            both = {
                place: [float(np.mean(a[place]) - np.mean(b[place]))] for place in a if place in b
            }
            if not both:
                continue
            grid = _grid(both)
            units = np.nanmean(grid, axis=1) if len(grid) > 1 else grid[0]
            title = f"{_title(key, better)} less {_title(key, worse)}"
            difference = {"score": bootstrapped(grid)}
            lines.append(Line(condition, title, difference, len(both), sign_flip(units)))
    return _corrected(lines)


def _abx(key: Key, kept: Sequence[Submission]) -> tuple[list[Line], list[Line]]:
    found: dict[tuple[str, str], list[bool]] = {}
    for submission in kept:
        for trial, choice in submission.ratings.items():
            x, choices = key.trials[trial]["x"], key.trials[trial]["choices"]
            fact = {name: key.sounds[name] for name in (*choices, x)}
            systems = sorted(fact[name]["system"] for name in choices)
            systems.sort(key=lambda system: system == REFERENCE)  # the reference is named last
            title = " or ".join(_title(key, system, plain=True) for system in systems)
            right = fact[str(choice)]["system"] == fact[x]["system"]
            found.setdefault((fact[x]["condition"], title), []).append(right)
    lines = []
    for (condition, title), answers in sorted(found.items()):
        right, count = sum(answers), len(answers)
        low, high = clopper_pearson(right, count)
        share = Interval(100 * right / count, 100 * low, 100 * high)
        p = binomial_tail(right, count, 0.5)
        lines.append(Line(condition, title, {"right": share}, count, p))
    return _corrected(lines), []


def _drt(key: Key, kept: Sequence[Submission]) -> tuple[list[Line], list[Line]]:
    """Score 100 (right - wrong) / all, which is 0 for guesses."""
    found: dict[tuple[str, str], dict[str, dict[tuple[str, str], list[float]]]] = {}
    for submission in kept:
        for trial, choice in submission.ratings.items():
            fact = key.sounds[key.trials[trial]["sound"]]
            columns = found.setdefault((fact["condition"], fact["system"]), {})
            place = submission.listener, f"{fact['speaker']}/{fact['pair']}"
            value = 100.0 if choice == fact["word"] else -100.0
            for column in ("all", fact["feature"]):
                columns.setdefault(column, {}).setdefault(place, []).append(value)
    lines = [
        Line(
            condition,
            _title(key, system, plain=True),
            {
                name: bootstrapped(_grid(columns[name])) if name in columns else None
                for name in ("all", *FEATURES)
            },
            sum(map(len, columns["all"].values())),
        )
        for (condition, system), columns in found.items()
    ]
    return sorted(lines, key=lambda line: (line.condition, -_mean(line))), []


def _mean(line: Line) -> float:
    first = next(iter(line.values.values()))
    return first.mean if first else -math.inf


def _title(key: Key, system: str, plain: bool = False) -> str:
    if system == REFERENCE:
        return "reference" if plain else "hidden reference"
    if system.startswith(ANCHOR):
        return f"anchor {int(system.removeprefix(ANCHOR)) / 1000:g} kHz"
    return key.systems.get(system, system)


def _grid(values: Mapping[tuple[str, str], Sequence[float]]) -> np.ndarray:
    """Return means as ``[listeners, clips]``; NaN where a listener did not rate a clip."""
    rows, columns = (list(dict.fromkeys(place[i] for place in values)) for i in (0, 1))
    grid = np.full((len(rows), len(columns)), np.nan)
    for (row, column), given in values.items():
        grid[rows.index(row), columns.index(column)] = np.mean(given)
    return grid


def _corrected(lines: Sequence[Line]) -> list[Line]:
    ps = holm([math.nan if line.p is None else line.p for line in lines])
    return [
        Line(line.condition, line.title, line.values, line.count, p) for line, p in zip(lines, ps)
    ]
