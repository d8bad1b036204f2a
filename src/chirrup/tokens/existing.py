"""Checks of a folder that may have a data set already, so that nobody loses one by mistake."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chirrup.errors import FileError
from chirrup.tokens import work
from chirrup.tokens.rows import Settings
from chirrup.tokens.store import NAME, Store


def check_folder(folder: Path, force: bool) -> None:
    """Raise FileError if the folder has other files, or shards without their working file."""
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is not a folder: give another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NAME).is_file():
        if not _files(folder):
            raise FileError(f"{folder} is neither empty nor a data set: give another --out")
        if not force:
            raise _unknown(folder)


def _files(folder: Path) -> list[Path]:
    """Return the files that a data set has after its first shard."""
    return [*folder.glob(work.DATASET), *work.shard_files(folder)]


def _unknown(folder: Path) -> FileError:
    return FileError(
        f"{folder / NAME} is missing or empty, so the data set cannot be continued: replace it "
        "with --force, or give another --out"
    )


def check_settings(store: Store, folder: Path, wanted: dict[str, Any], force: bool) -> None:
    """Raise FileError if the data set has other settings; with ``force`` remove its shards."""
    text, before = json.dumps(wanted), store.setting("settings")
    if before is None and (files := _files(folder)):
        if not force:
            raise _unknown(folder)
        for path in files:
            path.unlink()
    if before not in (None, text):
        known = json.loads(before)
        name = next(name for name in wanted if wanted[name] != known.get(name))
        if not force:
            raise FileError(
                f"{folder} has {name} {known.get(name)!r}, not {wanted[name]!r}: give another "
                "--out, or replace it with --force"
            )
        old = Settings(**{k: x for k, x in known.items() if k != "shard"})
        for number in store.remove_from(0):
            work.remove_shard(folder, number, old)
        store.clear()
    if before != text:
        store.set("settings", text)


def check_sources(store: Store, folder: Path, sources: Sequence[str], force: bool) -> None:
    """Raise FileError if the rows of an earlier source would be removed, although it still exists.

    A source stays if it is named again, or a folder above it is.
    """
    given = {Path(source).expanduser().resolve() for source in sources}
    before = [Path(text) for text in json.loads(store.setting("sources") or "[]")]
    removed = [
        path
        for path in before
        if not given.intersection([path, *path.parents])
        and (path.exists() or any(glob.iglob(str(path), recursive=True)))
    ]
    if removed and store.totals()[0] and not force:
        raise FileError(
            f"{folder} has the rows of {removed[0]}, which is not among the sources: name it too, "
            "give another --out, or remove these rows with --force"
        )
    if store.writable:
        store.set("sources", json.dumps(sorted(map(str, given))))
