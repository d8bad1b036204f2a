"""Parquet files: tables of audio, such as data sets on the Hugging Face hub, and manifests."""

import io
from bisect import bisect_right
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from chirrup.errors import FileError


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise FileError(
            f"{path} needs pyarrow, which is not installed: pip install 'chirrup[data]'"
        ) from error
    return pyarrow


@contextmanager
def _opened(path: Path, columns: Sequence[str] = ()) -> Generator[Any, None, None]:
    """Open a file that has all ``columns``; errors while it is read also raise FileError."""
    arrow = _pyarrow(path)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise FileError(f"{path} has no column {', '.join(sorted(missing))}")
            yield file
    except (OSError, ValueError, arrow.ArrowException) as error:
        why = str(error).partition("\n")[0]
        raise FileError(f"{path} cannot be read as a Parquet file: {why}") from error


def has_audio(path: Path) -> bool:
    """Return whether a file is a table of audio, not a manifest."""
    with _opened(path) as file:
        return "audio" in file.schema_arrow.names


def row_count(path: Path) -> int:
    """Return the number of rows of a table of audio."""
    return _starts(path)[-1]


def columns_without_audio(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Read the given columns that a table of audio has.

    If the audio is a struct with ``path``, the rows have it as ``audio.path``.
    """
    with _opened(path, ("audio",)) as file:
        have = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=[*have, "audio.path"]):
            for row in batch.to_pylist():
                struct = row.pop("audio", None) or {}
                name = struct.get("path")
                yield {**row, "audio.path": name if isinstance(name, str) else ""}


def rows_without_audio(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Read columns of a table of audio. ``audio`` and the first of ``columns`` are required."""
    with _opened(path, ("audio", columns[0])) as file:
        have = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=have):
            yield from batch.to_pylist()


def audio_of_row(path: Path, row: int) -> io.BytesIO:
    """Return the encoded audio of a row, which is bytes or a struct with ``bytes``.

    Raises:
        FileError: the file cannot be read, or the row has no encoded audio.
    """
    starts = _starts(path)
    group = bisect_right(starts, row) - 1
    if group == len(starts) - 1:
        raise FileError(f"{path} has fewer rows than before: start again")
    value = _group(path, group)[row - starts[group]].as_py()
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes):
        raise FileError(
            f"row {row} of {path} has no encoded audio: give a column audio of bytes, or of "
            "structs with bytes"
        )
    return io.BytesIO(data)


@lru_cache(maxsize=2)
def _starts(path: Path) -> list[int]:
    """Return the first row of each row group, and the number of rows; cached for the next rows."""
    with _opened(path, ("audio",)) as file:
        groups = range(file.num_row_groups)
        return [0, *accumulate(file.metadata.row_group(group).num_rows for group in groups)]


@lru_cache(maxsize=2)
def _group(path: Path, group: int) -> Any:
    """Return the column ``audio`` of a row group, cached for the next rows."""
    with _opened(path) as file:
        return file.read_row_group(group, columns=["audio"]).column("audio")


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of a manifest."""
    with _opened(path, ("path",)) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def write_table(path: Path, rows: Iterator[dict[str, Any]], types: Mapping[str, type]) -> None:
    """Write rows in constant memory.

    Args:
        path: path of the file.
        rows: values by column; None is an empty value.
        types: str, int or float, by column.
    """
    arrow = _pyarrow(path)
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in types.items()])
    with arrow.parquet.ParquetWriter(path, schema) as writer:
        held: list[dict[str, Any]] = []
        for row in rows:
            held.append(row)
            if len(held) == 4096:
                writer.write_table(arrow.Table.from_pylist(held, schema))
                held.clear()
        writer.write_table(arrow.Table.from_pylist(held, schema))
