"""The manifest: one row for each recording of a corpus, as CSV or Parquet, and how to open it.

The only column that must be there is ``path``, relative to the manifest. A recording in a shard
also has ``shard`` (a tar file, relative to the manifest), ``offset`` and ``size`` in bytes.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from chirrup.data import parquet
from chirrup.files.errors import FileError

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
"""What `quality` and `rooms` measure, in the order of the manifest's last columns."""

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


@dataclass(frozen=True, order=True)
class Entry:
    """One recording of a corpus.

    Attributes:
        path: of the file, or of the shard's member, relative to ``folder``.
        folder: the manifest's.
        shard: tar file relative to ``folder``; empty for a file of its own.
        offset, size: bytes of the member in the shard.
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

    def open(self) -> BinaryIO:
        """The encoded audio file, readable and seekable.

        Raises:
            OSError: no such file or shard.
            FileError: the shard ends before the member does.
        """
        if not self.shard:
            return (self.folder / self.path).open("rb")
        with (self.folder / self.shard).open("rb") as shard:
            shard.seek(self.offset)
            data = shard.read(self.size)
        if len(data) < self.size:
            raise FileError(f"{self.folder / self.shard} ends before {self.path} does")
        return io.BytesIO(data)


def find_manifest(folder: Path) -> Path:
    """The manifest of a folder; a manifest itself is taken as it is.

    Raises:
        FileError: there is none.
    """
    if folder.is_file():
        return folder
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if not found:
        raise FileError(f"{folder} has no {' or '.join(NAMES[:2])}")
    return found[0]


def read_manifest(path: Path) -> Iterator[Entry]:
    """Its rows.

    Raises:
        FileError: it is no table with a column ``path``, or a row is damaged.
    """
    rows = parquet.read_table(path) if path.suffix == ".parquet" else _csv_rows(path)
    for number, row in enumerate(rows, 2):
        facts = {key: str(value) for key, value in row.items() if value not in (None, "") and key}
        name, shard = facts.pop("path", ""), facts.pop("shard", "")
        try:
            offset, size = (int(facts.pop(key, "0")) for key in ("offset", "size"))
        except ValueError as error:
            raise FileError(f"{path}, row {number}: {error}") from error
        if not name:
            raise FileError(f"{path}, row {number} has no path")
        yield Entry(name, path.parent, shard, offset, size, facts)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as lines:
        try:
            reader = csv.DictReader(lines)
            if "path" not in (reader.fieldnames or ()):
                raise FileError(f"{path} has no column path")
            yield from reader
        except (csv.Error, UnicodeDecodeError) as error:
            raise FileError(f"{path} is no CSV file that can be read: {error}") from error


def write_manifest(path: Path, rows: Iterator[dict[str, Any]], form: str) -> None:
    """Rows of `COLUMNS`, as ``csv`` or ``parquet``; what a row lacks stays empty."""
    if form == "parquet":
        parquet.write_table(path, rows, COLUMNS)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
