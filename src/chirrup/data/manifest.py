"""Reading and writing of manifests: CSV or Parquet files with one row for each recording.

Only the column ``path`` is required; it is relative to the manifest. A recording in a shard also
has ``shard`` (a tar file, relative to the manifest), and ``offset`` and ``size`` in bytes.
"""

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chirrup.data import parquet
from chirrup.errors import FileError

NAMES = ("manifest.csv", "manifest.parquet", "MANIFEST.csv")

FIGURES: dict[str, type] = {
    "snr_db": float,
    "rt60_s": float,
    "bandwidth_hz": float,
    "clipped_share": float,
    "silence_share": float,
    "dc_offset": float,
    "loudness_lufs": float,
    "dnsmos": float,
    "direct_to_reverberant_db": float,
}
"""Figures that `quality` and `rooms` measure, in the order of the manifest's last columns."""

COLUMNS: dict[str, type] = {
    "path": str,
    "shard": str,
    "offset": int,
    "size": int,
    "sha256": str,
    "kind": str,
    "split": str,
    "source": str,
    "original": str,
    "start_seconds": float,
    "group": str,
    "gender": str,
    "language": str,
    "category": str,
    "licence": str,
    "attribution": str,
    "seconds": float,
    "sample_rate_hz": int,
    "channels": int,
    "original_sample_rate_hz": int,
    **FIGURES,
}


RANGES: dict[str, tuple[type, float, float]] = {
    "offset": (int, 0, 2**63 - 1),
    "size": (int, 0, 2**63 - 1),
    "start_seconds": (float, 0, 10**9),
    "seconds": (float, 0, 10**9),
    "sample_rate_hz": (int, 1, 2**31 - 1),
    "file_sample_rate": (int, 1, 2**31 - 1),
    "channels": (int, 1, 2**16 - 1),
}
"""Numeric columns that are used in computations, with their ranges."""


@dataclass(frozen=True, order=True)
class Entry:
    """A row of a manifest: one recording.

    Attributes:
        path: path of the file, or of the member of the shard, relative to ``folder``.
        folder: folder of the manifest.
        shard: tar file relative to ``folder``; empty if the recording is a file.
        offset: position of the member in the shard, in bytes.
        size: size of the member in bytes.
        facts: all other columns that are not empty, as text.
    """

    path: str
    folder: Path
    shard: str = ""
    offset: int = 0
    size: int = 0
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return str(self.folder / self.path)

    def open(self) -> io.BufferedReader | io.BytesIO:
        """Open the encoded audio file.

        Returns:
            A seekable binary file.

        Raises:
            OSError: the file or shard cannot be opened.
            FileError: it is not a regular file, or the shard ends before the member.
        """
        place = self.folder / (self.shard or self.path)
        if place.exists() and not place.is_file():
            raise FileError(f"{place} is not a regular file")
        if not self.shard:
            return place.open("rb")
        with place.open("rb") as shard:
            if shard.seek(0, os.SEEK_END) < self.offset + self.size:
                raise FileError(f"{place} ends before {self.path}")
            shard.seek(self.offset)
            return io.BytesIO(shard.read(self.size))

    def within(self, name: str) -> str | None:
        """Return a path relative to the folder of the corpus, or None if it is outside."""
        folder = os.path.abspath(self.folder)
        relative = os.path.relpath(os.path.join(folder, name), folder)
        return None if Path(relative).parts[:1] == ("..",) else Path(relative).as_posix()


@dataclass(frozen=True)
class BadRow:
    """A row of a manifest that cannot be used.

    Attributes:
        number: number of the row, counted from 1 with the heading.
        path: the path in the row, which may be empty.
        why: description of the fault.
    """

    number: int
    path: str
    why: str

    def __str__(self) -> str:
        return f"row {self.number}{self.path and f', {self.path}'}: {self.why}"


def find_manifest(folder: Path) -> Path:
    """Return the manifest of a folder. A file is returned as it is.

    Raises:
        FileError: the folder has no manifest.
    """
    if folder.is_file():
        return folder
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if not found:
        raise FileError(f"{folder} has no {' or '.join(NAMES[:2])}")
    return found[0]


def read_manifest(path: Path) -> Iterator[Entry]:
    """Read a manifest.

    Raises:
        FileError: the file is not a table with a column ``path``, or a row cannot be used.
    """
    for row in read_rows(path):
        if isinstance(row, BadRow):
            raise FileError(f"{path}, {row}: correct it; chirrup data check finds all such rows")
        yield row


def read_rows(path: Path) -> Iterator[Entry | BadRow]:
    """Read a manifest that may have rows that cannot be used.

    Raises:
        FileError: the file is not a table with a column ``path``.
    """
    rows = parquet.read_table(path) if path.suffix == ".parquet" else _csv_rows(path)
    for number, row in enumerate(rows, 2):
        facts = {
            key: str(value)
            for key, value in row.items()
            if key and value not in (None, "") and value == value  # NaN: an empty cell of pandas
        }
        name, shard = facts.pop("path", ""), facts.pop("shard", "")
        try:
            if not name:
                raise ValueError("it has no path")
            if "\0" in name + shard:
                raise ValueError("its path has a NUL character")
            numbers = {key: _number(key, facts[key]) for key in RANGES if key in facts}
        except ValueError as error:
            yield BadRow(number, name, str(error))
            continue
        facts |= {key: str(value) for key, value in numbers.items()}
        offset, size = (int(facts.pop(key, "0")) for key in ("offset", "size"))
        yield Entry(name, path.parent, shard, offset, size, facts)


def _number(key: str, text: str) -> float:
    kind, low, high = RANGES[key]
    try:
        value = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
    if not low <= value <= high or (kind is int and value != int(value)):
        number = "a whole number" if kind is int else "a number"
        raise ValueError(f"{key} is {text[:40]!r}: give {number} from {low} to {high}")
    return kind(value)


def languages(recordings: Sequence[Path]) -> dict[Path, str]:
    """Look up the languages of recordings in manifests.

    The manifests are searched in the folders of the recordings and up to three folders above.

    Returns:
        ISO 639 codes without the region, by path. Recordings without a language are left out.
    """
    places = {os.path.abspath(path): path for path in recordings}
    folders = {folder for path in places for folder in Path(path).parents[:4]}
    found: dict[Path, str] = {}
    for folder in sorted(folders):
        with suppress(FileError, OSError):
            for row in read_rows(find_manifest(folder)):
                place = places.get(os.path.abspath(folder / getattr(row, "path", "")))
                if place is None or isinstance(row, BadRow):
                    continue
                language = row.facts.get("language", "")
                if not language and "speech" in row.path:
                    language = row.facts.get("language_or_genre", "")
                if code := re.split("[-_.@]", language.strip().lower())[0]:
                    found[place] = code
    return found


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:  # Excel writes a mark first
        try:
            reader = csv.DictReader(lines)
            if "path" not in (reader.fieldnames or ()):
                raise FileError(f"{path} has no column path")
            yield from reader
        except (csv.Error, UnicodeDecodeError) as error:
            raise FileError(f"{path} cannot be read as CSV: {error}") from error


def write_manifest(path: Path, rows: Iterator[dict[str, Any]], form: str) -> None:
    """Write a manifest.

    Args:
        path: path of the manifest.
        rows: values of `COLUMNS`, by column. Missing values stay empty.
        form: "csv" or "parquet".
    """
    if form == "parquet":
        parquet.write_table(path, rows, COLUMNS)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
