"""What a layout says about one recording on disk, before anything is decoded."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

KINDS = ("speech", "noise", "music", "rir")
SPLITS = ("train", "validation", "test")
"""From the least to the most reserved."""
ENDINGS = {
    *(".wav", ".flac", ".opus", ".ogg", ".oga", ".mp3", ".aiff", ".aif", ".aifc"),
    *(".au", ".caf", ".w64", ".rf64"),
}
"""Of files that are audio; in lower case."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file, or one row of a Parquet file, and what its source tells of it.

    Attributes:
        path: absolute; ``shoebox:7`` for a room that is to be simulated.
        kind: one of `KINDS`.
        source: name of the data set.
        group: speaker, track or recording, unique over all sources: never in two splits.
        row: in a Parquet file of audio; -1: the file is audio itself.
        gender: ``female``, ``male``, or empty where the source does not tell; so all below.
        language: ISO 639-1 code.
        category: what a noise is of, the genre of music.
        style: ``read`` or ``studio``: which filters speech goes through.
        split: one of `SPLITS`, where the source itself says so.
        name: file name without ending that the corpus is to keep.
        original: how the source calls the file.
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
        """Unique in a corpus."""
        return self.path if self.row < 0 else f"{self.path}#{self.row}"

    @property
    def filters(self) -> str:
        """Which filters of the recipe it goes through: ``read``, ``studio``, or its kind."""
        return (self.style or "read") if self.kind == "speech" else self.kind

    def with_facts(self, facts: Mapping[str, str]) -> "Item":
        """The same with facts that a person gave, and names that can be written. What the source
        tells itself stays, but for the style, which is a person's to judge."""
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
        """All that is not empty."""
        return {name: value for name, value in asdict(self).items() if value not in ("", -1)}


def legible(text: str) -> str:
    """A name from the disk that may be no UTF-8, as text that is."""
    return text.encode("utf-8", "backslashreplace").decode()


def gender_of(text: str | None) -> str:
    """``female``, ``male`` or nothing, of the many ways to write it."""
    first = (text or "").strip().lower()
    if first in ("f", "female", "female_feminine", "w", "woman"):
        return "female"
    return "male" if first in ("m", "male", "male_masculine", "man") else ""


def group_of_name(path: Path) -> str:
    """What comes before the last ``__`` of a name; the name where there is none."""
    return path.stem.rpartition("__")[0] or path.stem
