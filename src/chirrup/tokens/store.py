"""The working file of a data set, a SQLite file: the shards that are written, and their rows."""

import json
import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.files.sqlite import code_of, naming_errors

NAME = "tokenize.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS shard (
    number INTEGER PRIMARY KEY, plan TEXT, rows INTEGER, seconds REAL,
    failures TEXT, ids TEXT, places BLOB, sizes TEXT
);
"""
ENTRY = np.dtype(
    [("shard", "<u4"), ("codes", "<u8"), ("about", "<u8"), ("frames", "<u4"), ("samples", "<u8")]
)
"""An entry of the index of rows: shard, places of codes and columns in bytes, and lengths."""


@contextmanager
def open_store(folder: Path) -> Generator["Store", None, None]:
    """Open the working file, and raise errors of SQLite as FileError.

    If the file or the folder cannot be written, the file is opened for reading.
    """
    path = folder / NAME
    exists = path.is_file()
    writable = os.access(folder, os.W_OK) and (not exists or os.access(path, os.W_OK))
    address = path.absolute().as_uri() + ("" if writable or not exists else "?immutable=1")
    with naming_errors(path, "replace the data set with --force, or give another --out"):
        connection = sqlite3.connect(address, timeout=0.2, isolation_level=None, uri=True)
        try:
            if writable:
                _prepare(connection)
            yield Store(connection, writable)
        finally:
            connection.close()


def remove_damaged(folder: Path) -> None:
    """Remove a working file that SQLite cannot read."""
    path = folder / NAME
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=0.2)) as connection:
            damaged = connection.execute("PRAGMA quick_check").fetchone() != ("ok",)
    except sqlite3.Error as error:
        damaged = code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    if damaged:
        for ending in ("", "-wal", "-shm"):
            path.with_name(NAME + ending).unlink(missing_ok=True)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    if "sizes" not in [row[1] for row in connection.execute("PRAGMA table_info(shard)")]:
        connection.execute("ALTER TABLE shard ADD COLUMN sizes TEXT")


class Store:
    """The shards of a data set. Each change is on the disk when the method returns.

    Attributes:
        writable: whether the data set can be changed.
    """

    def __init__(self, connection: sqlite3.Connection, writable: bool) -> None:
        self.run = connection.execute
        self.writable = writable

    def setting(self, name: str) -> str | None:
        """Return a setting."""
        found = self.run("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return found and found[0]

    def set(self, name: str, value: str) -> None:
        """Store a setting."""
        self.run("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def clear(self) -> None:
        """Forget everything."""
        self.run("DELETE FROM shard")
        self.run("DELETE FROM setting")

    def shard(self, number: int) -> tuple[str, list[int] | None]:
        """Return the plan by which a shard was written and the sizes of its files.

        The plan is "" if the shard was not written, or must be made again. The sizes are None if
        they are not known.
        """
        query = "SELECT plan, sizes FROM shard WHERE number = ?"
        plan, sizes = self.run(query, (number,)).fetchone() or ("", None)
        return plan, sizes and json.loads(sizes)

    def keep(self, plan: str, result: dict[str, Any]) -> None:
        """Store the result of a shard; see `work.run`."""
        rows, number = result["rows"], result["number"]
        places = np.array([(number, *row[1:]) for row in rows], ENTRY)
        ids, failures = json.dumps([row[0] for row in rows]), json.dumps(result["failures"])
        values = number, plan, len(rows), result["seconds"], failures, ids
        self.run(
            "INSERT OR REPLACE INTO shard VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, places.tobytes(), json.dumps(result["sizes"])),
        )

    def remove_from(self, number: int) -> list[int]:
        """Forget the shards from a number on, and return their numbers."""
        found = [n for (n,) in self.run("SELECT number FROM shard WHERE number >= ?", (number,))]
        if found:
            self.run("DELETE FROM shard WHERE number >= ?", (number,))
        return found

    def totals(self) -> tuple[int, float]:
        """Return the number of rows and their duration in s."""
        query = "SELECT COALESCE(SUM(rows), 0), COALESCE(SUM(seconds), 0.0) FROM shard"
        return self.run(query).fetchone()

    def shards(self) -> Iterator[tuple[int, int, float]]:
        """Yield number, rows and seconds of each shard with rows."""
        yield from self.run(
            "SELECT number, rows, seconds FROM shard WHERE rows > 0 ORDER BY number"
        )

    def failures(self) -> Iterator[dict[str, str]]:
        """Yield all failures."""
        for (text,) in self.run("SELECT failures FROM shard ORDER BY number"):
            yield from json.loads(text)

    def index(self) -> Iterator[tuple[list[str], bytes]]:
        """Yield the ids and the entries of each shard."""
        for ids, places in self.run("SELECT ids, places FROM shard ORDER BY number"):
            yield json.loads(ids), places
