"""The class `Tokens`, which reads the rows of a data set in any order."""

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cached_property
from math import floor, isfinite
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chirrup.errors import FileError
from chirrup.parsing import parsing
from chirrup.tokens.formats import FORMATS, Form, Place
from chirrup.tokens.layouts import unflatten
from chirrup.tokens.making import VERSION
from chirrup.tokens.rows import Row, Settings, checked_facts
from chirrup.tokens.store import ENTRY
from chirrup.tokens.work import DATASET, IDS, INDEX, SHARDS

T = TypeVar("T")
FAULTS = (KeyError, IndexError, TypeError, ValueError, OverflowError, MemoryError)
"""Errors of damaged shards."""
ROUNDING = 1e-6
"""Largest rounding of a time in frames: 0.29 s at 100 Hz is a little less than frame 29."""


class Tokens:
    """A data set that `tokenize` has written. It can be pickled.

    >>> tokens = chirrup.tokens.open("tokens")
    >>> tokens[0].text, tokens[0].codes.shape
    >>> part = tokens.codes(0, start_s=1.0, end_s=2.5)

    Args:
        folder: folder of the data set.

    Raises:
        FileError: the folder has no whole data set.

    Attributes:
        settings: model, weights, bitrate, sizes and layout.
        seconds: duration of all rows.
        frames: number of frames of each row, ``[rows]``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        about = _description(self.folder)
        try:
            self.settings = Settings(**{f.name: about[f.name] for f in fields(Settings)})
            self.seconds = float(about["seconds"])
            starts = np.cumsum([0, *(shard["rows"] for shard in about["shards"])])
            self.first = {s["number"]: int(n) for s, n in zip(about["shards"], starts)}
            FORMATS[self.settings.format].check()
        except FAULTS as error:
            raise FileError(f"{self.folder / DATASET} is damaged: {error!r}") from error
        if len(self.index) != about.get("rows") or len(self.index) != starts[-1]:
            raise FileError(f"{self.folder / INDEX} has {len(self.index)} rows: it is damaged")

    def __repr__(self) -> str:
        own = self.settings
        return f"<Tokens {self.folder}: {len(self)} rows of {own.model}, {own.bitrate_bps} bit/s>"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the index, which a copy opens again."""
        return {name: x for name, x in self.__dict__.items() if name not in ("index", "numbers")}

    @cached_property
    def index(self) -> np.ndarray:
        """Entries of all rows, mapped into memory."""
        path = self.folder / INDEX
        try:
            with parsing():
                index = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError) as error:
            raise FileError(f"{path} cannot be read: {error}") from error
        if index.dtype != ENTRY or index.ndim != 1:
            raise FileError(f"{path} is damaged: it has {index.dtype} {list(index.shape)}")
        return index

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers of the rows by their ids, which are read when they are first needed."""
        return {name: number for number, name in enumerate(self.ids())}

    def ids(self) -> Iterator[str]:
        """Yield the ids of all rows.

        Raises:
            FileError: the file cannot be read, or has another number of ids.
        """
        path, count = self.folder / IDS, 0
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    count += 1
                    yield line.rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"{path} cannot be read: {error}") from error
        if count != len(self):
            raise FileError(f"{path} has {count} ids of {len(self)} rows: it is damaged")

    @property
    def form(self) -> Form:
        return FORMATS[self.settings.format]

    @property
    def frames(self) -> np.ndarray:
        return self.index["frames"]

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Row]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, row: int | str) -> Row:
        """Return a row by its number or id.

        Raises:
            IndexError: there is no row with this number.
            KeyError: there is no row with this id.
            TypeError: ``row`` is neither a number nor an id, for example a slice.
            FileError: its shard cannot be read.
        """
        number = self._number(row)

        def read(*place: Any) -> Row:
            facts, tokens = self.form.read(*place)
            codes = self._codes(tokens, number)
            checked = checked_facts(facts, codes.shape[1], self.settings)
            if checked["samples"] != self.index["samples"][number]:
                raise ValueError(f"samples is {checked['samples']}, but not in {INDEX}")
            return Row(**checked, codes=codes)

        return self._read(read, number)

    def codes(self, row: int | str, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
        """Return the codes of a row, or of a part of it.

        Args:
            row: number or id of the row.
            start_s: start in s. The first frame is the one at this time.
            end_s: end in s. The frame at this time is the first one that is left out. None is the
                end of the row.

        Returns:
            ``int [codebooks, frames]``.

        Raises:
            ValueError: a time is not a finite number.
            IndexError, KeyError, TypeError, FileError: as for ``tokens[row]``.
        """
        number = self._number(row)
        start, end = self._frame(start_s), None if end_s is None else self._frame(end_s)
        return self._codes(self.stored(number), number)[:, start:end]

    def stored(self, row: int | str) -> np.ndarray:
        """Return the codes of a row as they are stored, see `layouts.flatten`."""
        return self._read(self.form.read_codes, self._number(row))

    def _number(self, row: int | str) -> int:
        """Return the number of a row, counted from the end if it is negative."""
        if isinstance(row, str):
            return self.numbers[row]
        try:
            number = operator.index(row)
        except TypeError as error:
            raise TypeError(f"a row is a number or an id, not {row!r}") from error
        if not -len(self) <= number < len(self):
            raise IndexError(f"no row {number}: there are {len(self)}")
        return number

    def _frame(self, seconds: float) -> int:
        if not isfinite(seconds):
            raise ValueError(f"the time is {seconds} s, must be a finite number")
        return max(0, floor(seconds * self.settings.frame_rate_hz + ROUNDING))

    def _read(self, read: Callable[[Path, int, int, Place], T], number: int) -> T:
        """Read a row with a function of its folder, shard, position in the shard and place."""
        entry = self.index[number]
        shard, place = int(entry["shard"]), (int(entry["codes"]), int(entry["about"]))
        try:
            position = number % len(self) - self.first[shard]
            return read(self.folder / SHARDS, shard, position, place)
        except FAULTS as error:
            raise FileError(f"row {number} of {self.folder} is damaged: {error!r}") from error

    def _codes(self, tokens: np.ndarray, number: int) -> np.ndarray:
        own, frames = self.settings, self.frames[number]
        try:
            codes = unflatten(tokens, own.codebook_size, own.flatten, own.codebooks)
            if codes.shape[1] != frames:
                raise ValueError(f"it has {codes.shape[1]} frames, but {INDEX} states {frames}")
        except (ValueError, MemoryError) as error:
            raise FileError(f"row {number} of {self.folder} is damaged: {error}") from error
        return codes


def open(folder: str | Path) -> Tokens:
    """Open a data set that `tokenize` has written; see `Tokens`."""
    return Tokens(folder)


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DATASET
    if not folder.is_dir() or not path.exists():
        lacks = f"has no {DATASET}: give a folder of chirrup tokenize, whose run has ended"
        raise FileError(f"{folder} {lacks if folder.is_dir() else 'does not exist'}")
    try:
        with parsing():
            about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}") from error
    if not isinstance(about, dict) or about.get("version") != VERSION:
        raise FileError(f"{path} is not of version {VERSION}: use another version of chirrup")
    return about
