"""Functions that layouts share: files below a folder in a fixed order, and tables."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

from chirrup.errors import FileError
from chirrup.files.naming import AUDIO_ENDINGS
from chirrup.files.walking import files_below, unreadable
from chirrup.parsing import parsing


def audio_below(folder: Path) -> Iterator[Path]:
    """Find all audio files, folder by folder, in the order of their names, except hidden files.

    Files of formats that cannot be read are included, so that they are refused instead of missing.

    Raises:
        FileError: a folder cannot be read.
    """
    for path in files_below(folder, hidden=False):
        if path.suffix.lower() in AUDIO_ENDINGS:
            yield path


def folders_in(folder: Path) -> list[Path]:
    """Return a folder and the folders in it, sorted.

    Raises:
        FileError: the folder cannot be read.
    """
    try:
        return [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    except OSError as error:
        raise unreadable(error) from error


def first_below(folder: Path, *names: str) -> Path | None:
    """Return the folder, or the first folder in it, that has one of ``names``.

    Raises:
        FileError: the folder cannot be read.
    """
    places = folders_in(folder)
    has_one = (place for place in places if any(os.path.exists(place / name) for name in names))
    return next(has_one, None)


def home(folder: Path, layout: str, *names: str) -> Path:
    """Return the folder of a data set as `first_below` does.

    Raises:
        FileError: there is no such folder.
    """
    found = first_below(folder, *names)
    if found is None:
        raise FileError(f"{folder} does not look like {layout}: it has no {' or '.join(names)}")
    return found


def table(path: Path, delimiter: str = "\t") -> Iterator[dict[str, str]]:
    """Yield the rows of a table with a heading, or nothing if there is no such file.

    Raises:
        FileError: the file is damaged.
    """
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        try:
            for row in csv.DictReader(lines, delimiter=delimiter, quoting=quoting):
                yield {key.strip(): (value or "").strip() for key, value in row.items() if key}
        except csv.Error as error:
            raise FileError(f"{path} cannot be read as a table: {error}") from error


def texts(path: Path) -> dict[str, dict[str, str]]:
    """Return the texts in the objects of a JSON file, or nothing if there is no such file.

    Raises:
        FileError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        with parsing():
            return {
                name: {key: value for key, value in about.items() if isinstance(value, str)}
                for name, about in json.loads(path.read_text("utf-8")).items()
            }
    except ValueError as error:
        raise FileError(
            f"{path} cannot be read as JSON with an object of objects: {error}"
        ) from error


def words(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line except comments, or nothing if there is no such file."""
    if path.is_file():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            if line.strip() and not line.startswith(("#", ";")):
                yield line.split()
