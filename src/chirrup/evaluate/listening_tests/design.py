"""Make a blind listening test from a folder that ``chirrup evaluate`` wrote.

A test is a folder of two parts::

    page/index.html   the page, with its scripts
    page/test.json    the trials, for the page; names no system
    page/audio/       the sounds, whose names are random
    key.json          the test and the system of each sound, for the analysis

Only ``page`` is given to listeners. The order of trials and sounds differs by listener: the page
derives it from the seed of the test and the listener's name.
"""

import json
import random
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chirrup.errors import FileError, UsageError
from chirrup.evaluate.listening_tests.items import (
    REFERENCE,
    Item,
    Settings,
    read_items,
    spread,
)
from chirrup.evaluate.listening_tests.sounds import anchors_hz
from chirrup.evaluate.listening_tests.words import FEATURES, PAIRS, Pair, talker_of, word_of
from chirrup.evaluate.listening_tests.writer import Writer, anchor
from chirrup.files.drafts import cannot_write, open_scratch, writing_into

TEST, KEY, PAGE, AUDIO = "test.json", "key.json", "page", "audio"
TEST_FORMAT, KEY_FORMAT = "chirrup listening test 1", "chirrup listening test key 1"
TRAINING_WORDS = 2


def make_test(
    results: Path,
    out: Path,
    settings: Settings,
    page: Mapping[str, bytes],
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Make a listening test.

    Args:
        results: folder that ``chirrup evaluate`` wrote.
        out: folder of the test, which must not exist.
        page: files of the page, by their path in its folder.
        note: called with a text if clips are left out.

    Returns:
        The content of ``test.json``.

    Raises:
        FileError: the results have no audio for such a test, or ``out`` cannot be written.
        UsageError: a setting names something that the results do not have.
    """
    if out.exists():
        raise FileError(f"{out} exists: give another folder with --out")
    found = read_items(results, settings, note)
    titles = {system: row.title for item in found for system, row in item.rows.items()}
    random_ = random.Random(settings.seed)
    with open_scratch(out) as scratch, writing_into(out):
        draft = scratch / "test"
        audio = draft / PAGE / AUDIO
        audio.mkdir(parents=True)
        writer = Writer(results, audio)
        make = {"mushra": _mushra, "abx": _abx, "drt": _drt}[settings.kind]
        training, trials = make(found, settings, writer, random_)
        random_.shuffle(trials)
        test = {
            "format": TEST_FORMAT,
            "id": secrets.token_hex(8),
            "kind": settings.kind,
            "title": settings.title,
            "seed": settings.seed,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "training": [{"id": f"training-{n}", **trial} for n, trial in enumerate(training, 1)],
            "trials": [{"id": f"{n}", **trial} for n, trial in enumerate(trials, 1)],
        }
        key = {"format": KEY_FORMAT, "test": test, "systems": titles, "sounds": writer.sounds}
        for path, content in page.items():
            (draft / PAGE / path).parent.mkdir(exist_ok=True)
            (draft / PAGE / path).write_bytes(content)
        _write_json(draft / PAGE / TEST, test)
        _write_json(draft / KEY, key)
        try:
            draft.rename(out.resolve())  # a link may name a folder that does not exist
        except OSError as error:
            raise cannot_write(out, error) from error
    return test


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


Trials = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Trials of the training, and of the test."""


def _mushra(
    items: list[Item], settings: Settings, writer: Writer, random_: random.Random
) -> Trials:
    taken, others = spread(items, settings.limit)

    def trial(item: Item) -> dict[str, Any]:
        anchors = [anchor(edge) for edge in anchors_hz(writer.reference_rate_hz(item))]
        first, *rest = writer.write(item, [REFERENCE, REFERENCE, *anchors, *item.rows])
        return {"reference": first, "sounds": sorted(rest)}

    return [trial((others or taken)[0])], [trial(item) for item in taken]


def _abx(items: list[Item], settings: Settings, writer: Writer, random_: random.Random) -> Trials:
    taken, others = spread(items, settings.limit)

    def trial(item: Item, system: str) -> dict[str, Any]:
        hidden = random_.choice((settings.against, system))
        *pair, x = writer.write(item, [settings.against, system, hidden])
        return {"choices": sorted(pair), "x": x}

    first = (others or taken)[0]
    rows = [row for row in first.rows.values() if row.system != settings.against]
    if not rows:
        raise UsageError(f"{settings.against} is the only system: choose another with --system")
    training = trial(first, min(rows, key=lambda row: row.kbps).system)
    training["answer"] = next(
        name
        for name in training["choices"]
        if writer.sounds[name]["system"] == writer.sounds[training["x"]]["system"]
    )
    return [training], [
        trial(item, system)
        for item in taken
        for system in item.rows
        if system != settings.against
        for _ in range(settings.repeats)
    ]


def _drt(items: list[Item], settings: Settings, writer: Writer, random_: random.Random) -> Trials:
    """Each system, the reference too, gets a word of each pair by each speaker.

    The words are drawn for each system, so that no trial gives away the answer of another.
    """
    spoken: dict[tuple[str, str], dict[str, Item]] = {}
    known = {word for pair in PAIRS for word in pair.words}
    for item in items:
        if (word := word_of(item.clip)) in known:
            spoken.setdefault((item.condition, talker_of(item.clip)), {})[word] = item
    whole = [
        pair
        for pair in PAIRS
        if spoken and all(words.keys() & set(pair.words) for words in spoken.values())
    ]
    pairs = _mixed(whole, random_)[: settings.limit]
    if not pairs:
        raise FileError(
            "no clip of the results is a word of the diagnostic rhyme test that all speakers say: "
            "name the recordings SPEAKER__WORD, such as ann__veal.wav"
        )

    def trial(words: dict[str, Item], pair: Pair, system: str) -> dict[str, Any]:
        word = random_.choice([word for word in pair.words if word in words])
        (sound,) = writer.write(words[word], [system])
        writer.sounds[sound] |= {
            "speaker": talker_of(words[word].clip),
            "word": word,
            "feature": pair.feature,
            "pair": pair.name,
        }
        return {"sound": sound, "words": list(pair.words)}

    first = next(iter(spoken.values()))
    training = [trial(first, pair, REFERENCE) for pair in pairs[:TRAINING_WORDS]]
    for one in training:
        one["answer"] = writer.sounds[one["sound"]]["word"]
    systems = (REFERENCE, *next(iter(first.values())).rows)
    return training, [
        trial(words, pair, system)
        for words in spoken.values()
        for pair in pairs
        for system in systems
    ]


def _mixed(pairs: list[Pair], random_: random.Random) -> list[Pair]:
    """Return pairs in a random order in which the features take turns."""
    turns = {}
    for feature in FEATURES:
        here = [pair for pair in pairs if pair.feature == feature]
        random_.shuffle(here)
        turns |= {pair: turn for turn, pair in enumerate(here)}
    return sorted(turns, key=lambda pair: turns[pair])
