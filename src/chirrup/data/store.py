"""The working file of a preparation, a SQLite file in the corpus, so that it can be interrupted.

Files and measurements are kept from run to run. The selection and the splits are computed again in
each run. Only one process may use the file.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chirrup.data.item import Item, legible
from chirrup.errors import FileError
from chirrup.words import counted

NAME = "prepare.sqlite"
COMMIT_S = 1.0
"""Longest time between commits: the work that is lost if the process is killed."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE, item TEXT, stamp TEXT, seen INTEGER, measured INTEGER
);
CREATE TABLE IF NOT EXISTS clip (
    id INTEGER PRIMARY KEY, file INTEGER, record TEXT, reason TEXT, detail TEXT,
    split TEXT DEFAULT '', path TEXT DEFAULT '', shard TEXT DEFAULT '', place INTEGER DEFAULT 0
);
CREATE INDEX IF NOT EXISTS clip_file ON clip (file);
CREATE INDEX IF NOT EXISTS clip_shard ON clip (shard, place);
CREATE TABLE IF NOT EXISTS shard (name TEXT PRIMARY KEY, plan TEXT, members TEXT);
"""


@dataclass(slots=True)
class Clip:
    """A recording, or a piece of one, with the input and the result of the selection.

    Attributes:
        id: number in the store.
        kind: see `Item`, as for the following attributes.
        filters: class of the recipe's filters, see `Item.filters`.
        licensed: whether it has a licence.
        given_split: the split that the source defines.
        seconds: length.
        figures: measured figures in the order of sorted `recipe.MEASURES`; NaN if not measured.
        content: hash of its samples.
        reason: name of the reason why it is refused; empty if it is kept.
        detail: description of the reason.
        split: its split; empty if it is refused.
    """

    id: int
    kind: str
    source: str
    filters: str
    group: str
    gender: str
    language: str
    category: str
    licensed: bool
    given_split: str
    seconds: float
    figures: tuple[float, ...]
    content: int
    reason: str = ""
    detail: str = ""
    split: str = ""

    def refuse(self, reason: str, detail: str) -> None:
        """Set the reason of a refusal."""
        self.reason, self.detail, self.split = reason, detail, ""


def early_name(path: str) -> str:
    """Return the path of the early part of a room response."""
    return path.rpartition(".")[0] + ".early.flac"


@dataclass(frozen=True)
class Stored:
    """A clip or a refusal, with all its data. `Clip` documents the attributes that it shares.

    Attributes:
        item: the facts of its source.
        record: result of its measurement.
        path: path in the corpus.
        shard: shard in the corpus.
    """

    id: int
    item: Item
    record: dict[str, Any]
    reason: str
    detail: str
    split: str
    path: str
    shard: str


class Store:
    """The working file of a preparation.

    Raises:
        sqlite3.Error: the file cannot be opened, is damaged or is not a working file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = path = folder / NAME
        self.connection = sqlite3.connect(path, timeout=0.2, isolation_level=None)
        try:
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                self.connection.execute(statement)
        except sqlite3.DatabaseError:
            self.connection.close()
            raise
        self.committed = time.monotonic()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.connection.in_transaction:  # an error of the disk has ended it
                self.commit()
        finally:
            self.connection.close()

    def discard(self) -> None:
        """Remove the file. The store cannot be used afterwards."""
        self.connection.execute("ROLLBACK")
        self.connection.close()
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("BEGIN")

    def commit(self) -> None:
        """Write all changes to the file."""
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")
        self.committed = time.monotonic()

    def _changed(self) -> None:
        if time.monotonic() - self.committed > COMMIT_S:
            self.commit()

    # --- files ---------------------------------------------------------------------------------

    def scanned(
        self, items: Iterable[tuple[Item, str]], measuring: str, forget: bool = True
    ) -> int:
        """Store the files of the sources, and remove files that no longer exist.

        Args:
            items: each file with a stamp, which changes when the file changes.
            measuring: settings on which the measurement depends. If they change, all files are
                measured again.
            forget: allow recordings of the corpus to be removed.

        Returns:
            The number of files.

        Raises:
            FileError: recordings of the corpus no longer exist, and ``forget`` is False. Nothing
                changes then.
        """
        run = self.connection.execute
        before = run("SELECT value FROM setting WHERE name = 'measuring'").fetchone()
        if before and before[0] != measuring:
            run("UPDATE file SET stamp = ''")
        run("INSERT OR REPLACE INTO setting VALUES ('measuring', ?)", (measuring,))
        run("UPDATE file SET seen = 0")
        for item, stamp in items:
            key, text = legible(item.key), json.dumps(item.as_json())
            known = run("SELECT stamp FROM file WHERE key = ?", (key,)).fetchone()
            if known is None:
                run(
                    "INSERT INTO file (key, item, stamp, seen, measured) VALUES (?, ?, ?, 1, 0)",
                    (key, text, stamp),
                )
            else:
                run("UPDATE file SET seen = 1, item = ? WHERE key = ?", (text, key))
                if known[0] != stamp:
                    run("UPDATE file SET measured = 0, stamp = ? WHERE key = ?", (stamp, key))
        if not forget and (gone := self._gone()):
            run("ROLLBACK")
            run("BEGIN IMMEDIATE")
            raise FileError(
                f"{self.path.parent} has {gone}, which are no longer in the sources: give all "
                "sources, another --out, or --force to remove these recordings"
            )
        run("DELETE FROM file WHERE seen = 0")
        run("DELETE FROM clip WHERE file NOT IN (SELECT id FROM file WHERE measured = 1)")
        self.commit()
        return run("SELECT COUNT(*) FROM file").fetchone()[0]

    def _gone(self) -> str:
        """Return a description of the recordings in written shards that no longer exist."""
        query = """SELECT json_extract(item, '$.source') AS source, COUNT(*) FROM clip
                   JOIN file ON file.id = clip.file JOIN shard ON shard.name = clip.shard
                   WHERE seen = 0 GROUP BY source ORDER BY source"""
        found = self.connection.execute(query)
        return ", ".join(f"{counted(count, 'recording')} of {source}" for source, count in found)

    def pending(self) -> list[int]:
        """Return the numbers of files that are not yet measured."""
        query = "SELECT id FROM file WHERE measured = 0 ORDER BY key"
        return [number for (number,) in self.connection.execute(query)]

    def item(self, number: int) -> Item:
        """Return a file by number."""
        query = "SELECT item FROM file WHERE id = ?"
        return Item(**json.loads(self.connection.execute(query, (number,)).fetchone()[0]))

    def measured(self, number: int, records: list[dict[str, Any]]) -> None:
        """Store the result of measuring a file.

        Args:
            number: number of the file.
            records: a record for each clip, or one refusal with ``reason`` and ``detail``.
        """
        self.connection.executemany(
            "INSERT INTO clip (file, record, reason, detail) VALUES (?, ?, ?, ?)",
            [
                (number, json.dumps(record), record.get("reason", ""), record.get("detail", ""))
                for record in records
            ],
        )
        self.connection.execute("UPDATE file SET measured = 1 WHERE id = ?", (number,))
        self._changed()

    # --- clips ---------------------------------------------------------------------------------

    def clips(self, measures: Iterable[str]) -> Iterator[Clip]:
        """Yield the clips of all readable files, in the order of the files' names.

        Args:
            measures: names of the figures, in the order of `Clip.figures`.
        """
        names = tuple(measures)
        same = sys.intern
        query = """SELECT clip.id, item, record FROM clip JOIN file ON file.id = clip.file
                   WHERE json_extract(record, '$.reason') IS NULL ORDER BY key, clip.id"""
        for number, text, record_text in self.connection.execute(query):
            item, record = Item(**json.loads(text)), json.loads(record_text)
            yield Clip(
                id=number,
                kind=same(item.kind),
                source=same(item.source),
                filters=same(item.filters),
                group=same(item.group),
                gender=same(item.gender),
                language=same(item.language),
                category=same(item.category or record.get("category", "")),
                licensed=bool(item.licence),
                given_split=same(item.split),
                seconds=record["seconds"],
                figures=tuple(record.get(name, float("nan")) for name in names),
                content=int(record["content"][:15], 16),
            )

    def decided(self, clips: Iterable[Clip]) -> None:
        """Store the result of the selection."""
        self.connection.executemany(
            "UPDATE clip SET reason = ?, detail = ?, split = ? WHERE id = ?",
            ((clip.reason, clip.detail, clip.split, clip.id) for clip in clips),
        )

    def placed(self, places: Iterable[tuple[str, str, int, int]]) -> None:
        """Store the path, the shard, the position in it and the number of each kept clip."""
        self.connection.execute("UPDATE clip SET path = '', shard = '', place = 0")
        self.connection.executemany(
            "UPDATE clip SET path = ?, shard = ?, place = ? WHERE id = ?", places
        )
        self.commit()

    def stored(self, where: str = "", arguments: tuple[Any, ...] = ()) -> Iterator[Stored]:
        """Yield clips and refusals.

        Args:
            where: SQL after FROM, such as WHERE and ORDER BY.
            arguments: values of the question marks in ``where``.
        """
        with closing(self.connection.cursor()) as cursor:
            query = f"""SELECT clip.id, item, record, reason, detail, split, path, shard
                        FROM clip JOIN file ON file.id = clip.file {where}"""
            for number, item, record, *rest in cursor.execute(query, arguments):
                yield Stored(number, Item(**json.loads(item)), json.loads(record), *rest)

    def reasons(self) -> list[tuple[str, int, str]]:
        """Return each reason of refusals with their number and one detail, most frequent first."""
        query = """SELECT reason, COUNT(*) AS number, MIN(detail) FROM clip WHERE reason != ''
                   GROUP BY reason ORDER BY number DESC, reason"""
        return self.connection.execute(query).fetchall()

    # --- shards --------------------------------------------------------------------------------

    def shards(self) -> list[str]:
        """Return the names of all shards in which clips are placed, in order."""
        query = "SELECT DISTINCT shard FROM clip WHERE shard != '' ORDER BY shard"
        return [name for (name,) in self.connection.execute(query)]

    def written(self) -> set[str]:
        """Return the names of all shards and files that were written to the corpus."""
        found: set[str] = set()
        for name, members in self.connection.execute("SELECT name, members FROM shard"):
            paths = {member["path"] for member in json.loads(members)}
            found |= {name, *paths, *map(early_name, paths)}
        return found

    def members(self, name: str, plan: str = "") -> list[dict[str, Any]]:
        """Return the written members of a shard, or nothing if it was written by another plan."""
        query = "SELECT members FROM shard WHERE name = ? AND plan LIKE ?"
        found = self.connection.execute(query, (name, plan or "%")).fetchone()
        return json.loads(found[0]) if found else []

    def keep_members(self, name: str, plan: str, members: list[dict[str, Any]]) -> None:
        """Store the written members of a shard."""
        self.connection.execute(
            "INSERT OR REPLACE INTO shard VALUES (?, ?, ?)", (name, plan, json.dumps(members))
        )
        self._changed()
