"""Export of a model as a program of the native engine; docs/reference/program.md is the format."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from chirrup.lab.export.folding import DecoderGraph, EncoderGraph
from chirrup.lab.export.program_file import FileOperation, FilePart, write
from chirrup.lab.export.program_int8 import exact_int8
from chirrup.lab.nn.packing import padded
from chirrup.lab.nn.program import OPERATIONS, Operation, Part, Value

BLOCK_FRAMES = 16
"""Default number of frames that the engine computes at once."""
NOTHING = 0xFFFFFFFF


def program_of(
    encoder: EncoderGraph,
    decoder: DecoderGraph,
    frame_samples: int,
    block_frames: int = BLOCK_FRAMES,
) -> bytes:
    """Return the program file of an exported encoder and decoder of one channel.

    Matrices that are exactly int8 times a scale per output are stored so.

    Args:
        frame_samples: samples of a frame.
        block_frames: frames that the engine computes at once.

    Raises:
        NotImplementedError: the native engine has no form of a layer or of the quantizer.
    """
    parts = [encoder_part(encoder, frame_samples), decoder_part(decoder)]
    levels = parts[0].operations[-1].numbers[0]
    sizes = (frame_samples, levels), (levels, frame_samples)
    made = [as_in_file(*both, block_frames) for both in zip(parts, sizes, strict=True)]
    return exact_int8(write(made, block_frames))


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


def as_in_file(part: Part, sizes: tuple[int, int], block_frames: int) -> FilePart:
    """Return a part as the file has it; see `FilePart` for ``sizes``."""
    scratch = place(part, block_frames)
    index = {id(value): number for number, value in enumerate(part.values)}
    operations = []
    for own in part.operations:
        numbers, weights = own.content()
        values = [index.get(id(value), NOTHING) for value in (own.x, own.y, own.other)]
        words = [OPERATIONS.index(own.kind), *values, own.state, own.delay, own.delay_state]
        operations.append(FileOperation(words, numbers, weights))
    table = [(value.offset, value.rows, value.stride, value.before) for value in part.values]
    return FilePart(operations, np.array(table, np.uint32), part.state_floats, scratch, sizes)
