"""The settings of a listening test, and the items of an evaluation that it is made from."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chirrup.errors import FileError, UsageError
from chirrup.evaluate.results import RESULTS, Results, Row, audio_path
from chirrup.words import counted

KINDS = ("mushra", "abx", "drt")
REFERENCE = "reference"


@dataclass(frozen=True)
class Settings:
    """What a test consists of.

    Attributes:
        kind: one of `KINDS`.
        title: name of the test for listeners.
        systems: systems in the test, such as ``opus-6000``; if empty, all of the results.
        conditions: conditions in the test; if empty, all of the results.
        limit: number of clips for each condition, or of pairs of words in ``drt``; None for all.
        against: system that ``abx`` compares the others with.
        repeats: trials of each clip and system in ``abx``.
        seed: determines the clips, the words and the order of each listener.
    """

    kind: str
    title: str = "Listening test"
    systems: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    limit: int | None = None
    against: str = REFERENCE
    repeats: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Item:
    """The versions of a clip under a condition: its rows by system."""

    condition: str
    clip: str
    rows: dict[str, Row]

    @property
    def speaker(self) -> str:
        return next(iter(self.rows.values())).speaker


def read_items(
    results: Path, settings: Settings, note: Callable[[str], None] = lambda text: None
) -> list[Item]:
    """Return the items of the chosen conditions that have all chosen systems.

    Args:
        note: called with a text if clips are left out.
    """
    if settings.kind not in KINDS:
        raise UsageError(f"{settings.kind!r} is not a kind of test: use {', '.join(KINDS)}")
    for option, given in (
        ("--against", settings.against != REFERENCE),
        ("--repeats", settings.repeats != 1),
    ):
        if given and settings.kind != "abx":
            raise UsageError(f"{option} is not an option of {settings.kind}: leave it out")
    try:
        rows = Results.read(results / RESULTS).rows
    except FileNotFoundError as error:
        raise FileError(f"{results} has no {RESULTS}: give a folder of chirrup evaluate") from error
    except (OSError, ValueError) as error:
        raise FileError(f"{results / RESULTS} cannot be read: {error}") from error
    if not rows:
        raise FileError(f"{results / RESULTS} has no clips: run chirrup evaluate again")
    systems = _chosen(settings.systems, (row.system for row in rows), "system")
    if settings.against != REFERENCE:
        _chosen((settings.against,), (row.system for row in rows), "system")
        systems = dict.fromkeys((*systems, settings.against))
    conditions = _chosen(settings.conditions, (row.condition for row in rows), "condition")
    items: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.system in systems and row.condition in conditions:
            items.setdefault((row.condition, row.clip), {})[row.system] = row
    found = [
        Item(*place, {system: have[system] for system in systems if system in have})
        for place, have in sorted(items.items())
    ]
    whole = [item for item in found if all(_has_audio(results, item, s) for s in systems)]
    if not whole:
        raise FileError(
            f"no clip of {results} has audio of {', '.join(systems)}: evaluate all systems with "
            "the same clips and conditions, or choose systems with --system"
        )
    if left_out := len(found) - len(whole):
        note(f"left out: {counted(left_out, 'clip')} without the audio of all systems")
    return whole


def _has_audio(results: Path, item: Item, system: str) -> bool:
    names = (system, REFERENCE)
    return all(audio_path(results, item.condition, item.clip, x).is_file() for x in names)


def _chosen(wanted: Sequence[str], have: Iterable[str], what: str) -> dict[str, None]:
    known = dict.fromkeys(have)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no {what} {name!r} in the results: use {', '.join(known)}")
    return dict.fromkeys(wanted) if wanted else known


def spread(items: Sequence[Item], limit: int | None) -> tuple[list[Item], list[Item]]:
    """Return ``limit`` evenly spaced items of each condition, and the other items."""
    taken: list[Item] = []
    for condition in dict.fromkeys(item.condition for item in items):
        here = [item for item in items if item.condition == condition]
        count = min(limit or len(here), len(here))
        taken += [here[i] for i in np.linspace(0, len(here) - 1, count).round().astype(int)]
    return taken, [item for item in items if item not in taken]
