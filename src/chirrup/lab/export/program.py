"""Export of a model as a program of the native engine; docs/reference/program.md is the format."""

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from chirrup.lab.export.folding import DecoderGraph, EncoderGraph
from chirrup.lab.nn.packing import LANES, padded
from chirrup.lab.nn.program import OPERATIONS, Operation, Part, Value

MAGIC, VERSION = b"CHIRRUP1", 1
BLOCK_FRAMES = 16
"""Default number of frames that the engine computes at once."""
NOTHING = 0xFFFFFFFF
ALIGNMENT = 64
HEADER_BYTES, HASHED_FROM = 192, 96


Weight = tuple[int, int]
"""An array in a `WeightPool`: whether it is float16, and its place among the arrays of its kind."""


class WeightPool:
    """Weights of a program in units of `LANES` floats; equal arrays are stored once.

    An array whose values float16 represents exactly is stored as float16.
    """

    def __init__(self) -> None:
        self.arrays: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self.units = [0, 0]
        self._places: dict[bytes, tuple[int, int]] = {}

    def add(self, array: np.ndarray) -> Weight:
        """Store an array."""
        flat = np.ascontiguousarray(array, np.float32).ravel()
        flat = np.pad(flat, (0, padded(flat.size) - flat.size))
        key = flat.tobytes()
        if key not in self._places:
            with np.errstate(over="ignore"):
                half = flat.astype(np.float16)
            kind = int(np.array_equal(half.astype(np.float32), flat))
            self._places[key] = kind, self.units[kind]
            self.arrays[kind].append(half if kind else flat)
            self.units[kind] += flat.size // LANES
        return self._places[key]

    def place(self, weight: Weight) -> int:
        """Return the place of an array when all are stored: float32 first, then float16."""
        kind, unit = weight
        return unit + kind * self.units[0]


def program_of(
    encoder: EncoderGraph,
    decoder: DecoderGraph,
    frame_samples: int,
    block_frames: int = BLOCK_FRAMES,
) -> bytes:
    """Return the program file of an exported encoder and decoder of one channel.

    Args:
        frame_samples: samples of a frame.
        block_frames: frames that the engine computes at once.

    Raises:
        NotImplementedError: the native engine has no form of a layer or of the quantizer.
    """
    parts = [encoder_part(encoder, frame_samples), decoder_part(decoder)]
    levels = parts[0].operations[-1].numbers[0]
    return _file(parts, [(frame_samples, levels), (levels, frame_samples)], block_frames)


def encoder_part(graph: EncoderGraph, frame_samples: int) -> Part:
    """Return the program of an encoder: audio in, codes out."""
    part = Part()
    audio = part.value(frame_samples, 1, stride=1)
    part.add(Operation("input", y=audio, numbers=[frame_samples]))
    emit_of(graph.search)(part, graph.encoder.emit(part, audio))
    return part


def decoder_part(graph: DecoderGraph) -> Part:
    """Return the program of a decoder: codes in, audio out."""
    part = Part()
    part.output(graph.decoder.emit(part, emit_of(graph.lookup)(part)))
    return part


def emit_of(module: nn.Module) -> Callable[..., Any]:
    """Return the method that adds the search or the lookup of a quantizer to a program.

    Raises:
        NotImplementedError: the native engine has no form of the quantizer.
    """
    emit = getattr(module, "emit", None)
    if emit is None:
        raise NotImplementedError(f"the native engine has no {type(module).__name__}")
    return emit


def place(part: Part, block_frames: int) -> int:
    """Place the values in memory by their lifetimes, first fit; return the floats needed."""
    live: list[tuple[int, int, Value]] = []
    top = 0
    for value in sorted(part.values, key=lambda value: value.first or 0):
        if value.first is None:
            continue
        live = [entry for entry in live if entry[2].last >= value.first]
        need = padded(value.before * value.stride) + padded(
            value.rows * block_frames * value.stride
        )
        at = 0
        for begin, end, _ in sorted(live, key=lambda entry: entry[0]):
            if at + need <= begin:
                break
            at = max(at, end)
        live.append((at, at + need, value))
        value.offset = at + padded(value.before * value.stride)
        top = max(top, at + need)
    return top


def _file(parts: list[Part], sizes: list[tuple[int, int]], block_frames: int) -> bytes:
    pool = WeightPool()
    contents = [[operation.content() for operation in part.operations] for part in parts]
    weights = [[[*map(pool.add, arrays)] for _, arrays in content] for content in contents]
    content, heads = bytearray(HEADER_BYTES), []
    for part, numbers, stored, ends in zip(parts, contents, weights, sizes, strict=True):
        scratch = place(part, block_frames)
        index = {id(value): number for number, value in enumerate(part.values)}
        words = [
            _words(operation, index, own, [*map(pool.place, places)])
            for operation, (own, _), places in zip(part.operations, numbers, stored, strict=True)
        ]
        operations = _append(content, b"".join(words))
        table = [(value.offset, value.rows, value.stride, value.before) for value in part.values]
        values = _append(content, np.array(table, "<u4").tobytes())
        counts = len(part.operations), operations, len(table), values
        heads.append((*counts, part.state_floats, scratch, *ends))
    sections = [b"".join(array.tobytes() for array in arrays) for arrays in pool.arrays]
    places = [_append(content, section) for section in sections]
    struct.pack_into("<8sII", content, 0, MAGIC, VERSION, block_frames)
    struct.pack_into("<IIIIQ", content, 16, *pool.units, *places, len(content))
    for index, head in enumerate(heads):
        struct.pack_into("<8I", content, HASHED_FROM + 32 * index, *head)
    content[64:HASHED_FROM] = hashlib.sha256(content[HASHED_FROM:]).digest()
    return bytes(content)


def _words(
    operation: Operation, index: dict[int, int], numbers: list[int], weights: list[int]
) -> bytes:
    """Return an operation as the file has it, with values by their index."""
    values = (operation.x, operation.y, operation.other)
    places = [index.get(id(value), NOTHING) for value in values]
    states = [operation.state, operation.delay, operation.delay_state]
    own = numbers + [0] * (13 - len(numbers)), weights + [0] * (12 - len(weights))
    kind = OPERATIONS.index(operation.kind)
    return struct.pack("<32I", kind, *places, *states, *own[0], *own[1])


def _append(content: bytearray, section: bytes) -> int:
    """Append an aligned section; return its place in units of the alignment."""
    content += bytes(-len(content) % ALIGNMENT)
    place = len(content) // ALIGNMENT
    content += section + bytes(-len(section) % ALIGNMENT)
    return place
