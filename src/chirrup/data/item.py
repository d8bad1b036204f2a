"""The class `Item`: the facts that a layout states about a recording, before it is decoded."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

KINDS = ("speech", "noise", "music", "rir")
SPLITS = ("train", "validation", "test")
"""Splits, from the least to the most reserved."""
ENDINGS = {
    *(".wav", ".flac", ".opus", ".ogg", ".oga", ".mp3", ".aiff", ".aif", ".aifc"),
    *(".au", ".caf", ".w64", ".rf64"),
}
"""Endings of audio files, in lower case."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file, or a row of a Parquet file, with the facts that its source states.

    A fact that the source does not state is empty.

    Attributes:
        path: absolute path, or for example ``shoebox:7`` for a simulated room.
        kind: one of `KINDS`.
        source: name of the data set.
        group: speaker, track or recording. It is unique in all sources, and never in two splits.
        row: row in a Parquet file; -1 if the file is audio.
        gender: ``female`` or ``male``.
        language: ISO 639-1 code.
        category: category of a noise, or genre of music.
        licence: licence of the recording.
        attribution: authors of the recording.
        style: ``read`` or ``studio``, which selects the filters of speech.
        split: one of `SPLITS`, if the source defines splits.
        name: file name in the corpus, without its ending.
        original: name of the file in the source.
    """

    path: str
    kind: str
    source: str
    group: str
    row: int = -1
    gender: str = ""
    language: str = ""
    category: str = ""
    licence: str = ""
    attribution: str = ""
    style: str = ""
    split: str = ""
    name: str = ""
    original: str = ""

    @property
    def key(self) -> str:
        """Unique name in a corpus."""
        return self.path if self.row < 0 else f"{self.path}#{self.row}"

    @property
    def filters(self) -> str:
        """Class of the recipe's filters: ``read``, ``studio``, or the kind."""
        return (self.style or "read") if self.kind == "speech" else self.kind

    def with_facts(self, facts: Mapping[str, str]) -> "Item":
        """Return a copy with the user's facts, and with names that are valid UTF-8.

        Facts that the source states stay, except the style, which the user decides.
        """
        known = {f.name for f in fields(self)}
        new = {
            name: value
            for name, value in facts.items()
            if name in known and value and (name == "style" or not getattr(self, name))
        }
        for name in ("group", "category", "attribution", "name", "original", "source"):
            new[name] = legible(new.get(name) or getattr(self, name))
        return replace(self, **new)

    def as_json(self) -> dict[str, Any]:
        """Return the fields that are not empty."""
        return {name: value for name, value in asdict(self).items() if value not in ("", -1)}


def legible(text: str) -> str:
    """Return a name from the disk, which may not be valid UTF-8, as valid UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def gender_of(text: str | None) -> str:
    """Return ``female``, ``male`` or an empty text for one of many spellings."""
    first = (text or "").strip().lower()
    if first in ("f", "female", "female_feminine", "w", "woman"):
        return "female"
    return "male" if first in ("m", "male", "male_masculine", "man") else ""


def group_of_name(path: Path) -> str:
    """Return the part of a name before its last ``__``, or the whole name."""
    return path.stem.rpartition("__")[0] or path.stem
