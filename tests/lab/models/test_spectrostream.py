"""SpectroStream has the released configuration's counts and latency, and streams."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from chirrup.errors import ModelError
from chirrup.lab.audit.complexity import (
    Complexity,
    count,
    latency_samples,
    nominal_latency_samples,
    receptive_field_samples,
)
from chirrup.lab.models import Model, build
from chirrup.lab.models.spectrostream import SpectroConfig, SpectroStream
from chirrup.lab.papers import PAPERS
from chirrup.lab.quantizers.ema import EMALevel, PlainEMALevel
from one_stream import streamed
from small_spectro import CONFIG, DELAY, FRAME, small_spectro

SMALL = {"encoder": 0.857, "quantizer": 0.01966, "decoder": 3.270}
"""Billion multiplications of a second of stereo."""


@cache
def spectro(name: str) -> Model:
    torch.manual_seed(0)
    return build(name).eval().requires_grad_(False)


@cache
def complexity(name: str) -> dict[str, Complexity]:
    return count(spectro(name))


def noise(frames: int, frame: int = FRAME, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 2, frame * frames, generator=generator)


def test_parameters_are_those_of_the_release() -> None:
    model = spectro("spectro")
    for part, expected in PAPERS["spectro"].parameters_m.items():
        sizes = {k: v.numel() for k, v in model.get_submodule(part).named_parameters()}
        gains = sum(size for name, size in sizes.items() if name.endswith("original0"))
        total = complexity("spectro")[part].parameters - gains
        assert total / 1e6 == pytest.approx(expected, abs=0.006), part


def test_multiplications() -> None:
    """A second of stereo; one multiplication is two FLOPS."""
    counted = {part: figures.mflops for part, figures in complexity("spectro").items()}
    assert counted == pytest.approx(PAPERS["spectro"].mflops, abs=0.1)
    small = {part: figures.mflops / 2000 for part, figures in complexity("spectro-small").items()}
    assert small == pytest.approx(SMALL, rel=0.005)


def test_rates() -> None:
    for name in ("spectro", "spectro-small"):
        model = spectro(name)
        assert (model.sample_rate_hz, model.channels, model.frame_samples) == (48_000, 2, 1920)
        assert (model.codebooks, model.codebook_size, model.codebook_bps) == (64, 1024, 250)
        assert model.config.latent_dim == 256
        assert model.config.coarse_bins == 5


def test_latency_by_the_papers_count_and_truly() -> None:
    """The paper counts a frame and a frame of look-ahead.

    Overlapping spectra add half a window.
    """
    model, hop, embedding = spectro("spectro"), 480, 1920
    assert 1000 * 2 * embedding / 48_000 == PAPERS["spectro"].latency_ms == 80
    assert nominal_latency_samples(model) == 2 * embedding + hop == 4320  # 90 ms
    tiny = small_spectro()
    assert tiny.delay_samples == DELAY
    # A Hann window begins with a zero: the first sample of the look-ahead has no effect.
    assert nominal_latency_samples(tiny) == FRAME + DELAY == 216
    assert latency_samples(tiny) == 215


def test_less_look_ahead_is_less_latency() -> None:
    torch.manual_seed(0)
    model = SpectroStream(replace(CONFIG, look_ahead_hops=3))
    assert latency_samples(model) == 215 - CONFIG.hop


def test_the_encoder_looks_back_over_its_convolutions() -> None:
    model = small_spectro()
    field = receptive_field_samples(model.encoder)
    audio = noise(40).requires_grad_()
    assert audio.shape[2] > field
    model.encoder.offline(audio)[0, :, -1].sum().backward()
    assert audio.grad is not None
    seen = audio.grad[0].abs().sum(0).nonzero()[:, 0]
    assert int(seen[-1]) == audio.shape[2] - 1
    assert field - 1 <= audio.shape[2] - int(seen[0]) <= field, "a window may begin with a zero"


@given(chunks=st.lists(st.integers(1, 12), min_size=2, max_size=8), seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_stream_equals_offline(chunks: list[int], seed: int) -> None:
    """With cuts between random frames; without the state the output differs."""
    model, audio = small_spectro(), noise(sum(chunks), seed=seed)
    latent = model.encoder.offline(audio)
    quantized = model.quantizer.decode(model.quantizer.encode(latent))
    sound = model.decoder.offline(quantized)
    assert sound.shape == audio.shape
    sizes = [FRAME * frames for frames in chunks]
    for part, signal, pieces, whole in (
        (model.encoder, audio, sizes, latent),
        (model.decoder, quantized, chunks, sound),
    ):
        cut = signal.split(pieces, dim=2)
        torch.testing.assert_close(streamed(part, cut), whole, rtol=1e-4, atol=1e-4)
        assert float((streamed(part, cut, forget="") - whole).abs().max()) > 1e-3


def changed(model: Model, layers: slice) -> bool:
    """Return whether the left channel changes the right channel's output of these layers."""
    audio, other = noise(8), noise(8)
    other[:, 0] += 1
    halves = []
    for x in (audio, other):
        for layer in model.encoder.layers[layers]:
            x = layer.offline(x)
        halves.append(x[:, x.shape[1] // 2 :])
    return not torch.allclose(*halves)


@pytest.mark.parametrize("separate", [0, 2, 3])
@pytest.mark.parametrize("joint", [1, 2, 3])
def test_channels_are_fused_and_split_at_the_configured_levels(separate: int, joint: int) -> None:
    torch.manual_seed(0)
    model = SpectroStream(replace(CONFIG, separate_levels=separate, joint_levels=joint))
    assert len(model.encoder.layers) == 4 + 3 - separate
    assert not changed(model, slice(0, 1)), "the channels are apart"
    assert changed(model, slice(0, 2 if separate < 3 else None))
    output = model.decoder.offline(model.encoder.offline(noise(3)))
    assert output.shape == (1, 2, 3 * FRAME)


def test_invalid_splits_raise() -> None:
    with pytest.raises(ValueError, match="joint_levels must be from 1 to 3"):
        SpectroStream(replace(CONFIG, joint_levels=0))
    for levels in (-1, 4):
        with pytest.raises(ValueError, match="separate_levels must be from 0 to 3"):
            SpectroStream(replace(CONFIG, separate_levels=levels))
    message = "spectro cannot be built with these changes: joint_levels must be"
    with pytest.raises(ModelError, match=message):
        build("spectro", joint_levels=9)


def test_mono_is_tiled() -> None:
    model, audio = small_spectro(), noise(6)[:, :1]
    ones = torch.tensor([3]), torch.tensor([False]), torch.ones(1, 6, dtype=torch.bool)
    output, quantized = model(audio, *ones)
    assert output.shape == (1, 2, 6 * FRAME)
    both, again = model(audio.repeat(1, 2, 1), *ones)
    assert torch.equal(output, both)
    assert torch.equal(quantized.codes, again.codes)
    with pytest.raises(RuntimeError):
        model(audio.repeat(1, 3, 1), *ones)


def test_codebooks_are_as_wide_as_the_latent_or_factorised() -> None:
    assert isinstance(small_spectro().quantizer.trained_levels[0], PlainEMALevel)
    level = spectro("spectro-small").quantizer.trained_levels[0]
    assert isinstance(level, EMALevel)
    assert level.projects
    assert level.codebook.shape == (1024, 8)
    assert SpectroConfig().code_dim == SpectroConfig().latent_dim


def test_an_initialised_model_keeps_the_level_of_audio() -> None:
    torch.manual_seed(0)
    model, audio = SpectroStream(CONFIG).requires_grad_(False), noise(100, batch=2)
    model.start(audio)
    latent = model.encoder.offline(audio)
    assert float(latent.std()) == pytest.approx(1, rel=0.01)
    assert 0.01 < float(model.decoder.offline(latent).std()) < 0.3


def test_scaled_latents_give_equal_audio() -> None:
    model, audio = deepcopy(small_spectro()), noise(20)
    latent = model.encoder.offline(audio)
    output = model.decoder.offline(latent)
    assert model.scale_latents(0.1)
    scaled = model.encoder.offline(audio)
    assert_close(scaled, 0.1 * latent)
    assert_close(model.decoder.offline(scaled), output)


def test_silence_comes_out_finite() -> None:
    model, audio = small_spectro(), torch.zeros(1, 2, 10 * FRAME)
    present = torch.ones(1, 10, dtype=torch.bool)
    output, quantized = model(audio, torch.tensor([3]), torch.tensor([False]), present)
    assert output.isfinite().all()
    assert quantized.commitment.isfinite()
