"""Shards as npz files of NumPy: the codes of all rows in one array, and an array for each column.

``codes[..., starts[i]:starts[i + 1]]`` are the codes of row i. An array of texts has the width of
its longest text. If it would be too large, or a text ends with NUL, the column has the UTF-8 bytes
of all texts in one array, and ``text[text_starts[i]:text_starts[i + 1]]`` are the bytes of row i.
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
from chirrup.tokens.formats.form import Add, Place, stamp_of
from chirrup.tokens.rows import COLUMNS, Row, Settings, columns_of

MOST_TEXT_BYTES = 1 << 26
"""Largest size of an array of texts in memory."""


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
        }
        for name in COLUMNS:
            arrays |= _column(name, [row[name] for row in rows])
        with draft.open("wb") as file:
            np.savez_compressed(file, **arrays)


def _fits_array(texts: list[str]) -> bool:
    """Return whether NumPy's array of texts is small enough and keeps them: it drops final NULs."""
    small = 4 * max(map(len, texts)) * len(texts) <= MOST_TEXT_BYTES
    return small and not any(text.endswith("\0") for text in texts)


def _column(name: str, values: list[Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a column."""
    if COLUMNS[name] is str and not _fits_array(values):
        texts = [value.encode() for value in values]
        data = np.frombuffer(b"".join(texts), np.uint8)
        return {name: data, f"{name}_starts": np.cumsum([0, *map(len, texts)])}
    return {name: np.array(values)}


def read(
    folder: Path, number: int, position: int, place: Place
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the columns and the stored codes of a row.

    Raises:
        FileError: the shard cannot be read.
    """
    path = folder / names(number)[0]
    arrays = _arrays(path, stamp_of(path))
    facts = {name: _value(arrays, name, position) for name in COLUMNS}
    return facts, read_codes(folder, number, position, place)


def _value(arrays: dict[str, np.ndarray], name: str, position: int) -> Any:
    starts = arrays.get(f"{name}_starts")
    if starts is None:
        return arrays[name][position].item()
    start, stop = starts[position : position + 2]
    return arrays[name][start:stop].tobytes().decode()


def read_codes(folder: Path, number: int, position: int, place: Place) -> np.ndarray:
    """Return the stored codes of a row, as `read`."""
    path = folder / names(number)[0]
    arrays = _arrays(path, stamp_of(path))
    start, stop = arrays["starts"][position : position + 2]
    return arrays["codes"][..., start:stop].copy()


@lru_cache(maxsize=4)
def _arrays(path: Path, stamp: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of a shard, cached for the next rows."""
    try:
        with (
            parsing(),
            path.open("rb") as content,
            np.load(content, allow_pickle=False) as file,
        ):
            wanted = {"codes", "starts", *COLUMNS}
            starts = {f"{name}_starts" for name in COLUMNS} & {*file.files}
            return {name: file[name] for name in wanted | starts}
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read as a shard of tokens: {error}") from error
