"""Shards as Parquet files: a row for each row, with a list of codes for each codebook."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError
from chirrup.files.drafts import written
from chirrup.tokens.formats.form import Add, Place, stamp_of
from chirrup.tokens.layouts import stored_type
from chirrup.tokens.rows import COLUMNS, Row, Settings, columns_of

GROUP_ROWS = 256
"""Rows of a row group, which is the smallest part that can be read."""


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise FileError(
            "Parquet needs pyarrow, which is not installed: pip install 'chirrup[tokens]'"
        ) from error
    return pyarrow


def names(number: int) -> list[str]:
    """Return the names of the files of a shard."""
    return [f"tokens-{number:06d}.parquet"]


def check() -> None:
    """Raise FileError if pyarrow is not installed."""
    _pyarrow()


@contextmanager
def open_writer(folder: Path, number: int, settings: Settings) -> Generator[Add, None, None]:
    """Open a shard for writing; it appears whole or not at all."""
    arrow = _pyarrow()
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    code = arrow.from_numpy_dtype(stored_type(settings.codebook_size, settings.flatten))
    codes = arrow.list_(code if settings.flatten == "offset" else arrow.list_(code))
    fields = [*((name, kinds[kind]) for name, kind in COLUMNS.items()), ("codes", codes)]
    schema = arrow.schema(fields, metadata={"chirrup": json.dumps(asdict(settings))})
    held: list[tuple[dict[str, Any], np.ndarray]] = []

    def store() -> None:
        columns = [arrow.array([row[name] for row, _ in held], kinds[kind]) for name, kind in types]
        columns.append(_column(arrow, [tokens for _, tokens in held], codes))
        writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
        held.clear()

    def add(row: Row, tokens: np.ndarray) -> Place:
        held.append((columns_of(row, settings), tokens))
        if len(held) == GROUP_ROWS:
            store()
        return 0, 0

    types = list(COLUMNS.items())
    texts = [name for name, kind in types if kind is str]
    options = {"compression": "zstd", "use_dictionary": texts}
    with (
        written(folder / names(number)[0]) as draft,
        arrow.parquet.ParquetWriter(draft, schema, **options) as writer,
    ):
        yield add
        if held:
            store()


def _column(arrow: Any, tokens: list[np.ndarray], kind: Any) -> Any:
    """Return a column of arrays, which all have one or two axes."""
    values = arrow.array(np.concatenate([array.ravel() for array in tokens]))
    rows = [array for array in tokens for array in np.atleast_2d(array)]
    column = arrow.ListArray.from_arrays(_offsets(rows), values)
    if tokens[0].ndim == 2:
        column = arrow.ListArray.from_arrays(_offsets(tokens), column)
    return column.cast(kind)


def _offsets(arrays: list[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *map(len, arrays)], dtype=np.int32)


def read(
    folder: Path, number: int, position: int, place: Place
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the columns and the stored codes of a row.

    Raises:
        FileError: the shard cannot be read.
    """
    path = folder / names(number)[0]
    table = _group(path, stamp_of(path), position // GROUP_ROWS)
    row = position % GROUP_ROWS
    facts = {name: table.column(name)[row].as_py() for name in COLUMNS}
    return facts, _tokens(table, row)


def read_codes(folder: Path, number: int, position: int, place: Place) -> np.ndarray:
    """Return the stored codes of a row, as `read`."""
    path = folder / names(number)[0]
    table = _group(path, stamp_of(path), position // GROUP_ROWS, "codes")
    return _tokens(table, position % GROUP_ROWS)


def _tokens(table: Any, row: int) -> np.ndarray:
    """Return the codes of a row, a list or a list of lists of one length, as an array."""
    types, column = _pyarrow().types, table.column("codes")
    if not types.is_list(column.type) or not column[row].is_valid:
        raise ValueError(f"codes are {column.type}, or missing")
    values = column[row].values
    if not types.is_list(values.type):
        return values.to_numpy(zero_copy_only=False, writable=True)
    return values.flatten().to_numpy(zero_copy_only=False, writable=True).reshape(len(values), -1)


@lru_cache(maxsize=8)
def _group(path: Path, stamp: tuple[int, ...], group: int, *columns: str) -> Any:
    """Return some or all columns of a row group, cached for the next rows."""
    arrow = _pyarrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            return file.read_row_group(group, columns or None).combine_chunks()
    except (OSError, ValueError, IndexError, arrow.ArrowException) as error:
        why = str(error).partition("\n")[0]
        raise FileError(f"{path} cannot be read as a shard of tokens: {why}") from error
