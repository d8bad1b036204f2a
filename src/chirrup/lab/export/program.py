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
MOST_BYTES = 4096
"""Most inputs of an output of an int8 matrix, a limit of the engine."""
LEAST_OUTPUTS, MOST_ROWS = 64, 4
"""Least outputs and most rows of a frame of an operation with an int8 matrix."""


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


def program_of(
    encoder: EncoderGraph,
    decoder: DecoderGraph,
    frame_samples: int,
    block_frames: int = BLOCK_FRAMES,
    *,
    int8_decoder: bool = False,
) -> bytes:
    """Return the program file of an exported encoder and decoder of one channel.

    Args:
        frame_samples: samples of a frame.
        block_frames: frames that the engine computes at once.
        int8_decoder: whether the large matrices of the decoder are stored as int8. The codes are
            the same.

    Raises:
        NotImplementedError: the native engine has no form of a layer or of the quantizer.
    """
    parts = [encoder_part(encoder, frame_samples), decoder_part(decoder)]
    if int8_decoder:
        for operation in parts[1].operations:
            operation.as_bytes = is_for_bytes(operation)
    levels = parts[0].operations[-1].numbers[0]
    return _file(parts, [(frame_samples, levels), (levels, frame_samples)], block_frames)


def is_for_bytes(operation: Operation) -> bool:
    """Return whether int8 makes an operation faster: a large matrix with few rows."""
    matrices = operation.matrices()
    if matrices is None or operation.y is None:
        return False
    _, inputs, outputs = matrices.shape
    return inputs <= MOST_BYTES and outputs >= LEAST_OUTPUTS and operation.y.rows <= MOST_ROWS


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
    units = pool.units
    struct.pack_into("<8sII", content, 0, MAGIC, VERSION, block_frames)
    struct.pack_into("<4IQ", content, 16, *units[:2], *places[:2], len(content))
    struct.pack_into("<2I", content, 40, units[2], places[2])
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
