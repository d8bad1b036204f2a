"""Small programs that have every operation of the engine."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from chirrup.lab.export.folding import DecoderGraph, EncoderGraph, fold, for_export
from chirrup.lab.export.program import program_of
from chirrup.lab.export.program_file import read, write
from chirrup.lab.export.program_int8 import has_matrices, levels_of, matrices, store
from chirrup.lab.models.model import Model
from chirrup.lab.nn import streaming
from chirrup.lab.nn.recurrent import LSTM
from small_lrac import small_lrac
from small_model import small_iris


def with_lstm() -> tuple[EncoderGraph, DecoderGraph, Model]:
    """Return the parts of the small LRAC model with an LSTM, an ELU and a tanh in the encoder."""
    model = small_lrac()
    encoder, decoder = for_export(fold(model))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        lstm = LSTM(16, 16, 2).exported()
    layers = [streaming.Stateless(nn.ELU()), lstm, streaming.Stateless(nn.Tanh())]
    encoder.encoder = streaming.Sequential(
        *cast(streaming.Sequential, encoder.encoder).layers, *layers
    )
    return encoder, decoder, model


def parts_of(model: Model) -> tuple[EncoderGraph, DecoderGraph, Model]:
    return *for_export(fold(model)), model


def programs(block_frames: int = 2) -> Iterator[tuple[str, bytes]]:
    for name, (encoder, decoder, model) in {
        "iris": parts_of(small_iris()),
        "lrac": parts_of(small_lrac()),
        "lstm": with_lstm(),
    }.items():
        program = program_of(encoder, decoder, model.frame_samples, block_frames)
        yield name, program
        if name != "lrac":  # with a GRU in one encoder and an LSTM in the other
            for inputs_rounded in (False, True):
                kind = "rounded" if inputs_rounded else "exact"
                yield f"{name}-int8-{kind}", all_int8(program, inputs_rounded=inputs_rounded)


def all_int8(program: bytes, *, inputs_rounded: bool) -> bytes:
    """Return a program whose matrices, in the encoder too, are int8."""
    parts, block_frames = read(program)
    for operation in (own for part in parts for own in part.operations if has_matrices(own)):
        store(operation, levels_of(matrices(operation)), inputs_rounded=inputs_rounded)
    return write(parts, block_frames)
