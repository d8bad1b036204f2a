"""The interface of a format, which writes and reads shards."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError
from chirrup.tokens.rows import Row, Settings

Place = tuple[int, int]
"""Positions of the codes and of the other columns in a file, in bytes; 0 if they are not needed."""
Add = Callable[[Row, np.ndarray], Place]
"""A function that adds a row to a shard, with the codes as they are stored."""


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return numbers that change if a shard is written again, so that no cache has the old one.

    Raises:
        FileError: the shard is missing.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise FileError(f"{path} cannot be read as a shard of tokens: {error}") from error
    return about.st_ino, about.st_size, about.st_mtime_ns


@dataclass(frozen=True)
class Form:
    """A format of shards.

    Attributes:
        names: names of the files of a shard, by its number.
        open_writer: opens a shard in a folder for writing, by its number. A shard has rows.
        read: returns the columns and the stored codes of a row, by the number of the shard, the
            position in it and the place that `Add` returned.
        read_codes: returns only the stored codes.
        check: raises FileError if a package is not installed.
    """

    names: Callable[[int], list[str]]
    open_writer: Callable[[Path, int, Settings], AbstractContextManager[Add]]
    read: Callable[[Path, int, int, Place], tuple[dict[str, Any], np.ndarray]]
    read_codes: Callable[[Path, int, int, Place], np.ndarray]
    check: Callable[[], None] = lambda: None
