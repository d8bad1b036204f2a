"""Reading and writing of program files; docs/reference/program.md is the format.

`lab/export/program.py` writes the program of a model, and `lab/export/program_int8.py` changes the
weights of one.
"""

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chirrup.errors import ModelError
from chirrup.lab.nn.packing import LANES, padded
from chirrup.lab.nn.program import OPERATIONS
from chirrup.runtime.native import ALIGNMENT, HASH, HASHED_FROM, PART_BYTES

MAGIC, VERSION = b"CHIRRUP1", 1
HEADER_BYTES = 192
NUMBERS, WEIGHTS = 13, 8
"""Most numbers and weights of an operation."""
WEIGHT_COUNTS = {
    "conv": 4,
    "activate": 2,
    "norm": 3,
    "depthwise": 2,
    "gru": 2,
    "lstm": 2,
    "search": 4,
    "lookup": 1,
    "istft": 5,
}
"""Number of weights of each kind of operation that has some, without the scales of int8."""

Weight = tuple[int, int]
"""An array in a `WeightPool`: its kind, and its place among the arrays of that kind."""
KINDS = np.float32, np.float16, np.int8


class WeightPool:
    """Weights of a program in units of `LANES` floats; equal arrays are stored once.

    An array of floats whose values float16 represents exactly is stored as float16.
    """

    def __init__(self) -> None:
        self.arrays: tuple[list[np.ndarray], ...] = tuple([] for _ in KINDS)
        self.units = [0 for _ in KINDS]
        self._places: dict[tuple[int, bytes], Weight] = {}

    def add(self, array: np.ndarray) -> Weight:
        """Store an array."""
        flat = np.ascontiguousarray(array).ravel()
        kind = KINDS.index(np.int8)
        if flat.dtype != np.int8:
            flat = flat.astype(np.float32)
            with np.errstate(over="ignore"):
                kind = int(np.array_equal(flat.astype(np.float16).astype(np.float32), flat))
        flat = np.pad(flat, (0, padded(flat.size) - flat.size)).astype(KINDS[kind])
        key = kind, flat.tobytes()
        if key not in self._places:
            self._places[key] = kind, self.units[kind]
            self.arrays[kind].append(flat)
            self.units[kind] += flat.size // LANES
        return self._places[key]

    def place(self, weight: Weight) -> int:
        """Return the place of an array when all are stored, in the order of `KINDS`."""
        kind, unit = weight
        return unit + sum(self.units[:kind])


@dataclass
class FileOperation:
    """An operation as the file has it.

    Attributes:
        words: its first 7 numbers: kind, values and states.
        numbers: the other numbers, at most `NUMBERS`.
        weights: arrays of float32, or int8 for the matrix; a read one is flat, with its padding.
    """

    words: list[int]
    numbers: list[int]
    weights: list[np.ndarray]

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return OPERATIONS[self.words[0]]


@dataclass
class FilePart:
    """An encoder or a decoder as the file has it.

    Attributes:
        values: ``uint32 [values, 4]``.
        state_floats, scratch_floats: memory that it needs.
        sizes: sizes of a frame of input and of output.
    """

    operations: list[FileOperation]
    values: np.ndarray
    state_floats: int
    scratch_floats: int
    sizes: tuple[int, int]


def write(parts: list[FilePart], block_frames: int) -> bytes:
    """Return a program file."""
    pool = WeightPool()
    stored = [[[*map(pool.add, own.weights)] for own in part.operations] for part in parts]
    content, heads = bytearray(HEADER_BYTES), []
    for part, weights in zip(parts, stored, strict=True):
        words = [
            _words(own, [*map(pool.place, places)])
            for own, places in zip(part.operations, weights, strict=True)
        ]
        operations = _append(content, b"".join(words))
        values = _append(content, part.values.astype("<u4").tobytes())
        counts = len(part.operations), operations, len(part.values), values
        heads.append((*counts, part.state_floats, part.scratch_floats, *part.sizes))
    sections = [b"".join(array.tobytes() for array in arrays) for arrays in pool.arrays]
    places = [_append(content, section) for section in sections]
    units = pool.units
    struct.pack_into("<8sII", content, 0, MAGIC, VERSION, block_frames)
    struct.pack_into("<4IQ", content, 16, *units[:2], *places[:2], len(content))
    struct.pack_into("<2I", content, 40, units[2], places[2])
    for index, head in enumerate(heads):
        struct.pack_into("<8I", content, HASHED_FROM + PART_BYTES * index, *head)
    content[HASH] = hashlib.sha256(content[HASHED_FROM:]).digest()
    return bytes(content)


def _words(operation: FileOperation, places: list[int]) -> bytes:
    """Return the numbers of an operation."""
    numbers = operation.numbers + [0] * (NUMBERS - len(operation.numbers))
    return struct.pack("<32I", *operation.words, *numbers, *places, *[0] * (12 - len(places)))


def _append(content: bytearray, section: bytes) -> int:
    """Append an aligned section; return its place in units of the alignment."""
    content += bytes(-len(content) % ALIGNMENT)
    place = len(content) // ALIGNMENT
    content += section + bytes(-len(section) % ALIGNMENT)
    return place


def read(content: bytes) -> tuple[list[FilePart], int]:
    """Read a program file that `write` has returned.

    Returns:
        Its parts, and the frames that are computed at once.

    Raises:
        ModelError: it is damaged, or not a program.
    """
    try:
        return _read(content)
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise ModelError(f"the program is damaged: {error}") from error


def _read(content: bytes) -> tuple[list[FilePart], int]:
    magic, version, block_frames = struct.unpack_from("<8sII", content)
    if (magic, version) != (MAGIC, VERSION):
        raise ModelError(f"the file is not a program of version {VERSION}: export the model again")
    exact, half, exact_at, half_at = struct.unpack_from("<4I", content, 16)
    units, places = [exact, half], [exact_at, half_at]
    for numbers, own in zip((units, places), struct.unpack_from("<2I", content, 40), strict=True):
        numbers.append(own)
    pools = [
        np.frombuffer(content, np.dtype(kind).newbyteorder("<"), LANES * count, ALIGNMENT * place)
        for kind, count, place in zip(KINDS, units, places, strict=True)
    ]
    heads = [struct.unpack_from("<8I", content, HASHED_FROM + PART_BYTES * part) for part in (0, 1)]
    tables = [
        np.frombuffer(content, "<u4", count * 32, ALIGNMENT * place).reshape(-1, 32)
        for count, place, *_ in heads
    ]
    used = [[row[20 : 20 + _weights_of(row, sum(units[:2]))] for row in table] for table in tables]
    starts = {int(place) for rows in used for row in rows for place in row}
    ends = np.cumsum(units)
    arrays: dict[int, np.ndarray] = {}
    for place, stop in pairwise([*sorted(starts | {int(end) for end in ends}), int(ends[-1])]):
        if place < ends[-1]:
            kind = int(np.searchsorted(ends, place, side="right"))
            first = int(ends[kind]) - units[kind]
            part = pools[kind][LANES * (place - first) : LANES * (stop - first)]
            arrays[place] = part if kind == KINDS.index(np.int8) else part.astype(np.float32)
    parts = []
    for head, table, rows in zip(heads, tables, used, strict=True):
        operations = [
            FileOperation(row[:7].tolist(), row[7:20].tolist(), [arrays[int(w)] for w in own])
            for row, own in zip(table, rows, strict=True)
        ]
        values = np.frombuffer(content, "<u4", head[2] * 4, ALIGNMENT * head[3]).reshape(-1, 4)
        parts.append(FilePart(operations, values, head[4], head[5], (head[6], head[7])))
    return parts, block_frames


def _weights_of(row: np.ndarray, float_units: int) -> int:
    """Return the number of weights of an operation."""
    count = WEIGHT_COUNTS.get(OPERATIONS[row[0]], 0)
    return count + (OPERATIONS[row[0]] in ("conv", "gru", "lstm") and row[20] >= float_units)
