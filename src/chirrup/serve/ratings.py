"""The ratings of listening tests, in an SQLite file.

Nothing but the ratings of listeners is stored: no addresses, no headers. Each call opens the file,
so a server calls from any thread::

    await asyncio.to_thread(ratings.add, test, listener, value)
"""

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from chirrup.errors import FileError
from chirrup.evaluate.listening_tests.ratings import MOST_BYTES, check
from chirrup.parsing import parsing

MOST_SUBMISSIONS: Final = 10_000
WAIT_S: Final = 5.0
_HEAD = b"SQLite format 3\0"
_TABLE = "CREATE TABLE IF NOT EXISTS ratings (test TEXT, listener TEXT, submission TEXT)"


class Ratings:
    """A store of submissions. Each is kept, in the order in which they came.

    Args:
        path: the file, which is made if there is none.

    Raises:
        FileError: the file cannot be opened as such a store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as database:
            found = database.execute("SELECT name FROM sqlite_master").fetchall()
            if found and ("ratings",) not in found:
                raise FileError(f"{path} is a database of another program: give another file")
            database.execute(_TABLE)

    def add(self, test: str, listener: str, value: dict[str, Any]) -> None:
        """Store a submission.

        Raises:
            ValueError: ``value`` is not a submission of this test and listener, it is too large, or
                the store is full.
            FileError: the file cannot be written.
        """
        submission = check(value)
        if (submission.test, submission.listener) != (test, listener):
            raise ValueError(
                f"the submission is of test {submission.test} and listener {submission.listener}"
            )
        text = json.dumps(value)
        if len(text) > MOST_BYTES:
            raise ValueError(f"the submission is larger than {MOST_BYTES} bytes")
        with self._open() as database:
            (count,) = database.execute("SELECT count(*) FROM ratings").fetchone()
            if count >= MOST_SUBMISSIONS:
                raise ValueError(f"the store is full: it has {count} submissions")
            database.execute("INSERT INTO ratings VALUES (?, ?, ?)", (test, listener, text))

    def rows(self, test: str) -> list[dict[str, Any]]:
        """Return the submissions of a test, the oldest first.

        Raises:
            FileError: the file cannot be read, or was changed by another program.
        """
        with self._open() as database:
            found = database.execute(
                "SELECT submission FROM ratings WHERE test = ? ORDER BY rowid", (test,)
            ).fetchall()
        try:
            with parsing():
                return [json.loads(text) for (text,) in found]
        except ValueError as error:
            raise FileError(f"{self.path} has a submission that is not JSON: {error}") from error

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection, None, None]:
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_S)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise FileError(f"{self.path} cannot be used as a store of ratings: {error}") from error


def is_store(path: Path) -> bool:
    """Return whether a file is an SQLite file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD
