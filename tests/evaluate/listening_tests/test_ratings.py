"""Ratings: what is accepted, who is excluded, and the numbers of the tables."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chirrup.errors import FileError
from chirrup.evaluate.listening_tests.analysis import Table, analyse
from chirrup.evaluate.listening_tests.design import KEY, make_test
from chirrup.evaluate.listening_tests.items import Settings
from chirrup.evaluate.listening_tests.ratings import Key, check, read_files, read_key, submissions
from chirrup.evaluate.listening_tests.significance import (
    binomial_tail,
    bootstrapped,
    clopper_pearson,
    holm,
    sign_flip,
)
from chirrup.evaluate.listening_tests.words import FEATURES, PAIRS
from listening_samples import evaluated, submission

SCORES = {"reference": 100, "good-6000": 80, "bad-1000": 40, "anchor-3500": 20, "anchor-7000": 50}


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return made(tmp_path, Settings("mushra"), ["ann__0", "ann__1", "bob__0"])


def made(tmp_path: Path, settings: Settings, clips: list[str]) -> Key:
    make_test(evaluated(tmp_path / "results", clips, seconds=0.02), tmp_path / "test", settings, {})
    return read_key(tmp_path / "test")


def scored(key: Key, listener: str, change: float = 0, hidden: float = 100) -> dict[str, Any]:
    """Return ratings of `SCORES` plus ``change``, and of a hidden reference."""

    def rate(trial: Mapping[str, Any]) -> dict[str, float]:
        systems = {sound: key.sounds[sound]["system"] for sound in trial["sounds"]}
        return {
            sound: hidden if system == "reference" else SCORES[system] + change
            for sound, system in systems.items()
        }

    return submission(key, listener, rate, "scores")


def table(key: Key, *values: dict[str, Any]) -> Table:
    return analyse(key, submissions([("file", value) for value in values], key))


# --- the tables ---------------------------------------------------------------------------------


def test_mushra(key: Key) -> None:
    result = table(key, *(scored(key, str(n), change=n) for n in range(4)))
    means = {line.title: line.values["score"] for line in result.lines}
    assert list(means) == [
        "hidden reference",
        "Good 6k",
        "anchor 7 kHz",
        "Bad 1k",
        "anchor 3.5 kHz",
    ]
    good = means["Good 6k"]
    assert good is not None
    assert good.mean == pytest.approx(81.5)
    assert 80 <= good.low < 81.5 < good.high <= 83
    assert {line.count for line in result.lines} == {12}
    (pair,) = result.pairs
    assert pair.title == "Good 6k less Bad 1k"
    assert pair.values["score"] == pytest.approx((40, 40, 40))
    assert pair.p == 2 / 2**4, "all signs equal, of four listeners"


def test_a_listener_who_does_not_find_the_reference_is_excluded(key: Key) -> None:
    result = table(key, scored(key, "a"), scored(key, "b", hidden=89), scored(key, "c", hidden=90))
    assert result.excluded == {"b": "scored the hidden reference below 90 in 3 of 3 trials"}
    assert result.listeners == 2
    result = table(key, scored(key, "b", hidden=89))
    assert (result.listeners, result.lines) == (0, [])


@pytest.mark.parametrize(("low", "excluded"), [(3, False), (4, True)])
def test_up_to_15_percent_of_the_trials_may_miss(key: Key, low: int, excluded: bool) -> None:
    trials = {str(n): trial for n, trial in enumerate(list(key.trials.values())[:1] * 20)}
    longer = replace(key, trials=trials)
    value = scored(longer, "a")
    for rating in value["ratings"][:low]:
        for sound in rating["scores"]:
            if key.sounds[sound]["system"] == "reference":
                rating["scores"][sound] = 50
    assert bool(table(longer, value).excluded) == excluded


def test_abx(tmp_path: Path) -> None:
    """One listener finds X always if a choice is ``bad``, else takes it for the reference."""
    key = made(tmp_path, Settings("abx", repeats=5), ["ann__0", "bob__0"])

    def rate(trial: Mapping[str, Any]) -> str:
        systems = {key.sounds[name]["system"]: name for name in trial["choices"]}
        x = key.sounds[trial["x"]]["system"]
        return systems[x if "bad-1000" in systems else "reference"]

    result = table(key, submission(key, "a", rate, "choice"))
    bad, good = sorted(result.lines, key=lambda line: line.title)
    assert bad.title == "Bad 1k or reference"
    assert bad.values["right"] == pytest.approx((100, 69.15, 100), abs=0.01)
    assert bad.p == pytest.approx(2 * 0.5**10), "corrected for two systems"
    right = sum(
        key.sounds[trial["x"]]["system"] == "reference"
        for trial in key.trials.values()
        if "good-6000" in {key.sounds[name]["system"] for name in trial["choices"]}
    )
    assert good.values["right"] is not None
    assert good.values["right"].mean == 10 * right
    assert good.p == pytest.approx(binomial_tail(right, 10, 0.5))
    assert good.count == 10


def test_drt(tmp_path: Path) -> None:
    """A listener who misses only nasality; another who guesses has about 0."""
    words = [word for pair in PAIRS[::4] for word in pair.words]
    key = made(tmp_path, Settings("drt"), words)

    def rate(trial: Mapping[str, Any]) -> str:
        fact = key.sounds[trial["sound"]]
        wrong = next(word for word in trial["words"] if word != fact["word"])
        return wrong if fact["feature"] == "nasality" else fact["word"]

    result = table(key, submission(key, "a", rate, "choice"))
    assert sorted(line.title for line in result.lines) == ["Bad 1k", "Good 6k", "reference"]
    for line in result.lines:
        means = {name: value.mean for name, value in line.values.items() if value}
        assert means == {"all": pytest.approx(100 * 4 / 6)} | {
            name: -100 if name == "nasality" else 100 for name in FEATURES
        }
        assert line.count == 24
    always_first = submission(key, "a", lambda trial: trial["words"][0], "choice")
    for line in table(key, always_first).lines:
        assert line.values["all"] is not None
        assert abs(line.values["all"].mean) < 60


def test_some_trials_suffice(key: Key) -> None:
    sent = scored(key, "a")
    del sent["ratings"][1:]
    result = table(key, sent)
    assert result.listeners == 1
    assert {line.count for line in result.lines} == {1}
    assert next(line for line in result.lines if line.title == "Good 6k").values["score"] == (
        80,
        80,
        80,
    )


# --- significance -------------------------------------------------------------------------------


def test_values_of_textbooks() -> None:
    assert binomial_tail(12, 16, 0.5) == pytest.approx(0.0384, abs=1e-4), (
        "the usual ABX of 12 in 16"
    )
    assert binomial_tail(0, 16, 0.5) == 1
    assert clopper_pearson(12, 16) == pytest.approx((0.4762, 0.9273), abs=1e-4)
    assert clopper_pearson(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_sign_flips() -> None:
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    assert sign_flip(np.array([1.0, -1.0])) == 1
    many = np.random.default_rng(0).standard_normal(30)
    assert sign_flip(many + 2) == pytest.approx(1 / 20_001)
    assert 0.05 < sign_flip(many) <= 1


def test_the_bootstrap_covers_listeners_and_clips() -> None:
    """The interval has the width that the variance of listeners and of clips gives."""
    random = np.random.default_rng(0)
    grid = random.normal(0, 10, (40, 1)) + random.normal(0, 5, (1, 40))
    found = bootstrapped(grid)
    expected = 2 * 1.96 * math.sqrt(np.var(grid.mean(1)) / 40 + np.var(grid.mean(0)) / 40)
    assert found.high - found.low == pytest.approx(expected, rel=0.1)
    grid[0, 0] = np.nan
    assert bootstrapped(grid).mean == pytest.approx(np.nanmean(grid))


# --- what is accepted ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "format is 'chirrup ratings 1'"),
        ({"age": 40}, "no field 'age'"),
        ({"listener": "a b"}, "listener is 'a b'"),
        ({"test": 3}, "test is 3"),
        ({"test": "other"}, "it rates the test other"),
        ({"finished": "<b>"}, "finished is '<b>'"),
        ({"ratings": {}}, "ratings must be a list"),
        ({"ratings": [3]}, "only the fields"),
        ({"ratings": [{"trial": "1", "choice": "a", "age": 3}]}, "only the fields"),
        ({"ratings": [{"trial": "1"}]}, "either scores or a choice"),
        ({"ratings": [{"trial": "1", "choice": "a"}]}, "does not fit"),
        ({"ratings": [{"trial": "99", "choice": "a"}]}, "no trial '99'"),
        ({"ratings": [{"trial": "1", "scores": {"a.flac": 101}}]}, "must be 0 to 100"),
        ({"ratings": [{"trial": "1", "scores": {"a.flac": True}}]}, "must be 0 to 100"),
        ({"ratings": [{"trial": "1", "scores": {"a.flac": 50}}]}, "does not fit"),
        ({"ratings": [{"trial": "1", "scores": {}}]}, "1 to 64 sounds"),
        ({"ratings": [{"trial": "1", "choice": "a", "seconds": -1}]}, "seconds is -1"),
        ({"ratings": [{"trial": "1", "choice": "a"}] * 2}, "rated twice"),
        ({"ratings": [{"trial": "1", "choice": "a"}] * 5001}, "at most 5000"),
    ],
)
def test_only_ratings_of_the_test_are_accepted(
    key: Key, change: dict[str, Any], message: str
) -> None:
    value = scored(key, "a")
    submissions([("file", value)], key)
    with pytest.raises(FileError, match=f"file cannot be used: .*{message}"):
        submissions([("file", value | change)], key)


@pytest.mark.parametrize("value", [None, [], "x", 3, {}, {"ratings": [[]]}])
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a submission"):
        check(value)


def test_the_last_of_the_submissions_with_the_most_ratings_counts(key: Key) -> None:
    first, whole = scored(key, "a", change=5), scored(key, "a")
    for fewer in ([], whole["ratings"][:1]):
        sent = [("file", value) for value in (first, whole, whole | {"ratings": fewer})]
        assert submissions(sent, key) == submissions([("file", whole)], key)


def test_files_and_folders_of_ratings(key: Key, tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    with pytest.raises(FileError, match="has no JSON files"):
        read_files([folder])
    for listener in "ab":
        (folder / f"{listener}.json").write_text(json.dumps(scored(key, listener)))
    assert set(submissions(read_files([folder]), key)) == {"a", "b"}
    for text, message in (("{", "as JSON"), ("[" * 100_000, "as JSON"), (" " * 2**21, "larger")):
        (folder / "a.json").write_text(text)
        with pytest.raises(FileError, match=message):
            read_files([folder])
    with pytest.raises(FileError, match="cannot be read"):
        read_files([tmp_path / "missing.json"])


@pytest.mark.parametrize("text", [None, "[]", "{}", '{"format": "x"}', "[" * 100_000])
def test_a_key_that_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / KEY).write_text(text)
    with pytest.raises(FileError, match="key"):
        read_key(tmp_path)


@pytest.mark.parametrize("kind", ["mushra", "abx", "drt"])
def test_a_damaged_key(tmp_path: Path, kind: str) -> None:
    """Each value of another type is a FileError, or makes no difference."""
    made(tmp_path, Settings(kind, limit=1), ["ann__veal", "ann__feel"])
    path = tmp_path / "test" / KEY
    whole = json.loads(path.read_text())
    whole["test"]["trials"] = whole["test"]["trials"][:1]
    path.write_text(json.dumps(whole))
    rate, field = {
        "mushra": (lambda trial: dict.fromkeys(trial["sounds"], 100), "scores"),
        "abx": (lambda trial: trial["choices"][0], "choice"),
        "drt": (lambda trial: trial["words"][0], "choice"),
    }[kind]
    rated = submission(read_key(tmp_path / "test"), "a", rate, field)

    def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        yield way
        if isinstance(value, (dict, list)):
            for key in value if isinstance(value, dict) else range(len(value)):
                yield from places(value[key], (*way, key))

    for way in places(whole):
        for wrong in (3, [], "x"):
            damaged: Any = json.loads(json.dumps([whole]))
            holder, last = damaged, 0
            for key in way:
                holder, last = holder[last], key
            holder[last] = wrong
            path.write_text(json.dumps(damaged[0]))
            with suppress(FileError):
                table(read_key(tmp_path / "test"), rated)
