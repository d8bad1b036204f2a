"""Small programs that have every operation of the engine."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from chirrup.lab.export.folding import DecoderGraph, EncoderGraph, fold, for_export
from chirrup.lab.export.program import program_of
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
        "int8": parts_of(small_iris()),
    }.items():
        step, int8 = model.frame_samples, name == "int8"
        yield name, program_of(encoder, decoder, step, block_frames, int8_decoder=int8)
