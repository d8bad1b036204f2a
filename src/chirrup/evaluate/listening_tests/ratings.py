"""Read what listeners sent, and check it against the test.

A submission is a JSON object::

    {"format": "chirrup ratings 1", "test": "3f2a...", "listener": "7",
     "started": "2026-11-29T14:00:00Z", "finished": "2026-11-29T14:20:00Z",
     "ratings": [{"trial": "1", "scores": {"a1b2.flac": 87, ...}, "seconds": 31.5}, ...]}

A rating of ``mushra`` has ``scores``. A rating of ``abx`` has ``choice``, the sound that the
listener takes for X. A rating of ``drt`` has ``choice``, a word.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chirrup.errors import FileError
from chirrup.evaluate.listening_tests.design import KEY, KEY_FORMAT
from chirrup.parsing import parsing

FORMAT = "chirrup ratings 1"
MOST_BYTES = 1 << 20
"""Largest submission. One of 2,000 words has about 100,000 bytes."""
MOST_RATINGS = 5000
_FIELDS = {"format", "test", "listener", "started", "finished", "ratings"}
_RATING_FIELDS = {"trial", "scores", "choice", "seconds"}
_FACTS_OF_WORDS = ("speaker", "word", "feature", "pair")
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_TIME = re.compile(r"[0-9T:.+Z-]{1,40}")


@dataclass(frozen=True)
class Key:
    """A test with the facts of its sounds.

    Attributes:
        trials: trials of the test by their id.
        systems: titles of the systems by name.
        sounds: facts of each sound: system, condition, clip, speaker and, in ``drt``, word, feature
            and pair.
    """

    test: str
    kind: str
    trials: dict[str, dict[str, Any]]
    systems: dict[str, str]
    sounds: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Submission:
    """The ratings of one listener: scores by sound, or a choice, of each trial that was rated."""

    test: str
    listener: str
    finished: bool
    ratings: dict[str, dict[str, float] | str]


def read_key(folder: Path) -> Key:
    """Read the key of a test.

    Raises:
        FileError: the folder has none, or it is damaged.
    """
    path = folder / KEY
    try:
        with parsing():
            value = json.loads(path.read_text(encoding="utf-8"))
            if value["format"] != KEY_FORMAT:
                raise ValueError(f"format is {value['format']!r}, must be {KEY_FORMAT!r}")
            test, sounds = value["test"], dict(value["sounds"])
            trials = {trial["id"]: trial for trial in test["trials"]}
            titles = {name: str(title) for name, title in value["systems"].items()}
            key = Key(test["id"], test["kind"], trials, titles, sounds)
            for trial in trials.values():
                _check_trial(trial, key)
            return key
    except OSError as error:
        raise FileError(
            f"{path} cannot be read: {error.strerror}; name the folder that chirrup blind-test made"
        ) from error
    except ValueError as error:
        raise FileError(f"{path} is not the key of a listening test: {error!r}") from error


def _check_trial(trial: Mapping[str, Any], key: Key) -> None:
    """Raise ValueError, KeyError or TypeError if a trial lacks what the analysis uses."""
    facts = [*("system", "condition", "clip"), *_FACTS_OF_WORDS * (key.kind == "drt")]
    one, several = {
        "mushra": ("reference", "sounds"),
        "abx": ("x", "choices"),
        "drt": ("sound", "words"),
    }[key.kind]
    if not isinstance(trial[one], str) or not isinstance(trial[several], list):
        raise TypeError(f"{one} or {several} of trial {trial['id']} has a wrong type")
    for sound in [trial[one], *trial[several] * (key.kind != "drt")]:
        for fact in facts:
            if not isinstance(key.sounds[sound][fact], str):
                raise TypeError(f"{fact} of the sound {sound} is not a text")
    if key.kind == "drt" and key.sounds[trial[one]]["word"] not in trial[several]:
        raise ValueError(f"trial {trial['id']} does not have its word")
    if key.kind == "abx" and len(trial[several]) != 2:
        raise ValueError(f"trial {trial['id']} does not have two choices")


def check(value: object) -> Submission:
    """Check a submission without its test. Nothing but ratings is accepted.

    Raises:
        ValueError: it is not a submission.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ValueError(f"a submission is a JSON object whose format is {FORMAT!r}")
    if unknown := sorted(map(str, value.keys() - _FIELDS)):
        raise ValueError(f"a submission has no field {unknown[0]!r}")
    for name in ("test", "listener"):
        if not isinstance(value.get(name), str) or not _NAME.fullmatch(value[name]):
            raise ValueError(
                f"{name} is {value.get(name)!r}: use 1 to 64 letters, digits and . _ -"
            )
    for name in ("started", "finished"):
        time = value.get(name)
        if time is not None and not (isinstance(time, str) and _TIME.fullmatch(time)):
            raise ValueError(f"{name} is {time!r}, must be a time such as 2026-11-29T14:00:00Z")
    ratings = value.get("ratings")
    if not isinstance(ratings, list) or len(ratings) > MOST_RATINGS:
        raise ValueError(f"ratings must be a list of at most {MOST_RATINGS}")
    found: dict[str, dict[str, float] | str] = {}
    for rating in ratings:
        trial, given = _rating(rating)
        if trial in found:
            raise ValueError(f"trial {trial!r} is rated twice")
        found[trial] = given
    return Submission(value["test"], value["listener"], value.get("finished") is not None, found)


def _rating(value: object) -> tuple[str, dict[str, float] | str]:
    if not isinstance(value, dict) or value.keys() - _RATING_FIELDS:
        raise ValueError(f"a rating has only the fields {', '.join(sorted(_RATING_FIELDS))}")
    trial, seconds = value.get("trial"), value.get("seconds", 0)
    if not isinstance(trial, str) or not _NAME.fullmatch(trial):
        raise ValueError(f"trial is {trial!r}, must be the id of a trial")
    if not _is_number(seconds) or not 0 <= seconds < 1e6:
        raise ValueError(f"trial {trial}: seconds is {seconds!r}")
    if ("scores" in value) == ("choice" in value):
        raise ValueError(f"trial {trial}: a rating has either scores or a choice")
    if "choice" in value:
        choice = value["choice"]
        if not isinstance(choice, str) or not _NAME.fullmatch(choice):
            raise ValueError(f"trial {trial}: choice is {choice!r}")
        return trial, choice
    scores = value["scores"]
    if not isinstance(scores, dict) or not 0 < len(scores) <= 64:
        raise ValueError(f"trial {trial}: scores must have 1 to 64 sounds")
    for sound, score in scores.items():
        if not _NAME.fullmatch(sound) or not _is_number(score) or not 0 <= score <= 100:
            raise ValueError(
                f"trial {trial}: the score of {sound!r} is {score!r}, must be 0 to 100"
            )
    return trial, {sound: float(score) for sound, score in scores.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def match(submission: Submission, key: Key) -> None:
    """Check a submission against its test.

    Raises:
        ValueError: it is of another test, or rates trials or sounds that the test does not have.
    """
    if submission.test != key.test:
        raise ValueError(f"it rates the test {submission.test}, not {key.test}")
    for name, given in submission.ratings.items():
        trial = key.trials.get(name)
        if trial is None:
            raise ValueError(f"the test has no trial {name!r}")
        if key.kind == "mushra":
            right = isinstance(given, dict) and given.keys() == set(trial["sounds"])
        else:
            right = given in (trial["choices"] if key.kind == "abx" else trial["words"])
        if not right:
            raise ValueError(f"trial {name}: the rating does not fit the trial")


def read_files(paths: Iterable[Path]) -> list[tuple[str, Any]]:
    """Read JSON files, and all of each folder, as pairs of path and content, sorted by path.

    Raises:
        FileError: a file cannot be read as JSON, or a folder has none.
    """
    found = []
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise FileError(f"{path} has no JSON files: name the files that listeners sent")
        for file in files:
            try:
                if file.stat().st_size > MOST_BYTES:
                    raise ValueError(f"it is larger than {MOST_BYTES} bytes")
                with parsing():
                    found.append((str(file), json.loads(file.read_text(encoding="utf-8"))))
            except OSError as error:
                raise FileError(f"{file} cannot be read: {error.strerror}") from error
            except ValueError as error:
                raise FileError(f"{file} cannot be read as JSON: {error}") from error
    return found


def submissions(found: Iterable[tuple[str, Any]], key: Key) -> dict[str, Submission]:
    """Return the submissions by listener.

    If a listener sent several, the one with the most ratings counts. Among equal numbers, the last
    one counts.

    Args:
        found: pairs of a source, for errors, and the content.

    Raises:
        FileError: a submission is malformed or of another test.
    """
    result: dict[str, Submission] = {}
    for source, value in found:
        try:
            submission = check(value)
            match(submission, key)
        except ValueError as error:
            raise FileError(f"{source} cannot be used: {error}") from error
        before = result.get(submission.listener)
        if before is None or len(submission.ratings) >= len(before.ratings):
            result[submission.listener] = submission
    return result
