"""What layouts share: files below a folder in a fixed order, and tables beside them."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from chirrup.errors import FileError
from chirrup.files.naming import AUDIO_ENDINGS


def audio_below(folder: Path) -> Iterator[Path]:
    """Find all audio files, folder by folder, in the order of their names, but no hidden ones.

    Formats that nothing here reads are among them, so that such files are refused, not missed.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_ENDINGS:
                yield Path(place, name)


def first_below(folder: Path, *names: str) -> Path | None:
    """The folder that has one of ``names``: itself or one right below it."""
    try:
        places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    except OSError:
        return None
    return next((place for place in places if any((place / n).exists() for n in names)), None)


def home(folder: Path, layout: str, *names: str) -> Path:
    """As `first_below`.

    Raises:
        FileError: there is none, so this is not that layout.
    """
    found = first_below(folder, *names)
    if found is None:
        raise FileError(f"{folder} does not look like {layout}: it has no {' or '.join(names)}")
    return found


def table(path: Path, delimiter: str = "\t") -> Iterator[dict[str, str]]:
    """Rows of a table with a heading; nothing where there is no such file."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        for row in csv.DictReader(lines, delimiter=delimiter, quoting=quoting):
            yield {key.strip(): (value or "").strip() for key, value in row.items() if key}


def words(path: Path) -> Iterator[list[str]]:
    """Words of each line but comments; nothing where there is no such file."""
    if path.is_file():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            if line.strip() and not line.startswith(("#", ";")):
                yield line.split()
