"""Shards as npz files of NumPy: the codes of all rows in one array, and an array for each column.

``codes[..., starts[i]:starts[i + 1]]`` are the codes of row i.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError
from chirrup.files.drafts import written
from chirrup.parsing import parsing
from chirrup.tokens.formats.form import Add, Place
from chirrup.tokens.rows import COLUMNS, Row, Settings, columns_of


def names(number: int) -> list[str]:
    """Return the names of the files of a shard."""
    return [f"tokens-{number:06d}.npz"]


@contextmanager
def open_writer(folder: Path, number: int, settings: Settings) -> Generator[Add, None, None]:
    """Open a shard for writing; it appears whole or not at all."""
    rows: list[dict[str, Any]] = []
    codes: list[np.ndarray] = []

    def add(row: Row, tokens: np.ndarray) -> Place:
        rows.append(columns_of(row, settings))
        codes.append(tokens)
        return 0, 0

    with written(folder / names(number)[0]) as draft:
        yield add
        arrays: dict[str, Any] = {
            "codes": np.concatenate(codes, axis=-1),
            "starts": np.cumsum([0, *(tokens.shape[-1] for tokens in codes)]),
            **{name: np.array([row[name] for row in rows]) for name in COLUMNS},
        }
        with draft.open("wb") as file:
            np.savez_compressed(file, **arrays)


def read(
    folder: Path, number: int, position: int, place: Place
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the columns and the stored codes of a row.

    Raises:
        FileError: the shard cannot be read.
    """
    arrays = _arrays(folder / names(number)[0])
    facts = {name: arrays[name][position].item() for name in COLUMNS}
    return facts, read_codes(folder, number, position, place)


def read_codes(folder: Path, number: int, position: int, place: Place) -> np.ndarray:
    """Return the stored codes of a row, as `read`."""
    arrays = _arrays(folder / names(number)[0])
    start, stop = arrays["starts"][position : position + 2]
    return arrays["codes"][..., start:stop]


@lru_cache(maxsize=4)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a shard, cached for the next rows."""
    try:
        with (
            parsing(),
            path.open("rb") as content,
            np.load(content, allow_pickle=False) as file,
        ):
            return {name: file[name] for name in ("codes", "starts", *COLUMNS)}
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read as a shard of tokens: {error}") from error
