"""Errors of SQLite files, with advice that fits the cause."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from chirrup.errors import FileError

_ADVICE = {
    "free space on the disk or raise the limit of the size of a file, then run the same command "
    "again": (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
    "wait until the other program has closed it": (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
    "check its permissions": (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    ),
}


@contextmanager
def naming_errors(path: Path, damaged: str) -> Generator[None, None, None]:
    """Raise errors of SQLite as FileError.

    Args:
        path: the SQLite file.
        damaged: what to do if the file is damaged.
    """
    try:
        yield
    except sqlite3.Error as error:
        advice = next((text for text, codes in _ADVICE.items() if code_of(error) in codes), damaged)
        raise FileError(f"{path} cannot be used: {error}: {advice}") from error


def code_of(error: sqlite3.Error) -> int:
    """Return the code of an error, without the details of its cause."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
