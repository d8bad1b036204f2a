"""The store of ratings: what it keeps, what it refuses, and threads."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chirrup.errors import FileError
from chirrup.serve import ratings
from chirrup.serve.ratings import Ratings, is_store


def sent(listener: str = "a", test: str = "t", **more: Any) -> dict[str, Any]:
    rating = {"trial": "1", "choice": "veal", "seconds": 2}
    value = {"format": "chirrup ratings 1", "test": test, "listener": listener}
    return value | {"ratings": [rating]} | more


def test_what_is_sent_is_kept_in_order(tmp_path: Path) -> None:
    store = Ratings(tmp_path / "ratings.sqlite")
    for value in (sent("b"), sent("a"), sent("b", finished="2026-11-29T14:00:00Z"), sent(test="u")):
        store.add(value["test"], value["listener"], value)
    again = Ratings(tmp_path / "ratings.sqlite")
    assert again.rows("t") == [sent("b"), sent("a"), sent("b", finished="2026-11-29T14:00:00Z")]
    assert again.rows("u") == [sent(test="u")]
    assert again.rows("none") == []
    assert is_store(tmp_path / "ratings.sqlite")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (sent(address="10.0.0.1"), "no field 'address'"),
        (sent("other"), "of test t and listener other"),
        (sent(test="other"), "of test other and listener a"),
        (sent(ratings=[{"trial": "x" * 65, "choice": "a"}]), "must be the id of a trial"),
    ],
)
def test_nothing_else_is_stored(tmp_path: Path, value: dict[str, Any], message: str) -> None:
    store = Ratings(tmp_path / "ratings.sqlite")
    with pytest.raises(ValueError, match=message):
        store.add("t", "a", value)
    assert store.rows("t") == []


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Ratings(tmp_path / "ratings.sqlite")
    monkeypatch.setattr(ratings, "MOST_SUBMISSIONS", 2)
    for _ in range(2):
        store.add("t", "a", sent())
    with pytest.raises(ValueError, match="full: it has 2"):
        store.add("t", "a", sent())
    monkeypatch.setattr(ratings, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        store.add("t", "a", sent())


def test_many_threads(tmp_path: Path) -> None:
    store = Ratings(tmp_path / "ratings.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.add("t", str(n), sent(str(n))), range(32)))
    assert len(store.rows("t")) == 32


def test_files_that_are_no_store(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 100)
    with pytest.raises(FileError, match="cannot be used as a store"):
        Ratings(text)
    assert not is_store(text)
    assert not is_store(tmp_path)
    with pytest.raises(FileError, match="cannot be used as a store"):
        Ratings(tmp_path / "missing" / "ratings.sqlite")
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE ratings (song TEXT)")
    with pytest.raises(FileError, match="cannot be used as a store"):
        Ratings(tmp_path / "other.sqlite").rows("t")


def test_a_database_of_another_program_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE people (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(FileError, match="a database of another program"):
        Ratings(path)
    assert path.read_bytes() == before


def test_a_store_that_another_program_changed(tmp_path: Path) -> None:
    store = Ratings(tmp_path / "ratings.sqlite")
    with sqlite3.connect(store.path) as database:
        database.execute("INSERT INTO ratings VALUES ('t', 'a', '{')")
    with pytest.raises(FileError, match="has a submission that is not JSON"):
        store.rows("t")
