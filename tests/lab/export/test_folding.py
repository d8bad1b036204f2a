"""Folding, and the modules for export in PyTorch."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.export.folding import (
    DecoderGraph,
    EncoderGraph,
    fold,
    for_export,
    for_one_frame,
    shared_copy,
)
from chirrup.lab.models.iris import OneFrameDecoder
from folded_models import MODELS, audio, codes, folded
from rounding import error_db

every_model = pytest.mark.parametrize("name", MODELS)


@cache
def graph_modules(name: str = "iris") -> tuple[EncoderGraph, DecoderGraph]:
    return for_export(folded(name))


def start(states: dict[str, Tensor]) -> list[Tensor]:
    return [value.clone() for value in states.values()]


@every_model
def test_folding_only_rounds_the_weights(name: str) -> None:
    model, rounded = MODELS[name](), folded(name)
    latent = model.encoder.offline(audio()[:, None])
    assert error_db(rounded.encoder.offline(audio()[:, None]), latent) < -40
    assert error_db(rounded.decoder.offline(latent), model.decoder.offline(latent)) < -40
    agreeing = rounded.quantizer.encode(latent) == model.quantizer.encode(latent)
    assert agreeing[:, 0].float().mean() > 0.95
    given = codes(name)
    expected = model.decoder.offline(model.quantizer.decode(given))
    assert error_db(rounded.decoder.offline(rounded.quantizer.decode(given)), expected) < -40


@every_model
def test_folded_weights_are_exact_in_half_precision_and_plain(name: str) -> None:
    model = folded(name)
    entries = {
        f"codebook {i}": model.quantizer.trained_levels[i].codebook for i in range(model.codebooks)
    }
    for key, value in (dict(model.named_parameters()) | entries).items():
        assert torch.equal(value, value.half().float()), key
        assert "parametrizations" not in key
        if "scale_" in key:
            assert (value == 1).all()


@every_model
def test_folding_leaves_the_model_as_it_was(name: str) -> None:
    model = MODELS[name]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sound = model.decoder.offline(model.encoder.offline(audio()[:, None]))
    for_export(fold(model))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert any("parametrizations" in name for name in after)
    assert torch.equal(sound, model.decoder.offline(model.encoder.offline(audio()[:, None])))


@every_model
@torch.no_grad()
def test_encoder_graph_is_the_folded_model(name: str) -> None:
    model, (encoder, _) = folded(name), graph_modules(name)
    expected = model.quantizer.encode(model.encoder.offline(audio()[:, None]))
    got, *_ = encoder(audio(), *start(model.encoder.initial_state(1)))
    assert got.dtype == torch.int32
    assert torch.equal(got, expected.int())


@every_model
@torch.no_grad()
def test_decoder_graph_is_the_folded_model_also_for_absent_codes(name: str) -> None:
    model, (_, decoder) = folded(name), graph_modules(name)
    expected = model.decoder.offline(model.quantizer.decode(codes(name)))[:, 0]
    got, *_ = decoder(codes(name).int(), *start(model.decoder.initial_state(1)))
    assert_close(got, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_one_frame_decoder_is_the_decoder_frame_by_frame() -> None:
    _, decoder = graph_modules()
    single = for_one_frame(decoder)
    assert any(isinstance(module, OneFrameDecoder) for module in single.modules())
    states = others = start(folded().decoder.initial_state(1))
    for index in range(codes().shape[2]):
        frame = codes()[:, :, index : index + 1].int()
        expected, *states = decoder(frame, *states)
        got, *others = single(frame, *others)
        assert_close(got, expected, atol=1e-5, rtol=0)
        for state, other in zip(states, others, strict=True):
            assert_close(other, state, atol=1e-4, rtol=1e-4)


@every_model
def test_a_shared_copy_has_other_layers_and_the_same_tensors(name: str) -> None:
    """So a large model is in memory once while its graphs are made."""
    model = folded(name)
    copied = shared_copy(model)
    for mine, its in zip(model.modules(), copied.modules(), strict=True):
        assert mine is not its
    for mine, its in zip(model.state_dict().values(), copied.state_dict().values(), strict=True):
        assert mine.data_ptr() == its.data_ptr()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for graph in for_export(model):
        for_one_frame(graph)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
