"""The LRAC baselines have their paper's complexity, bitrate and latency, and stream."""

from functools import cache
from math import log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chirrup.codes import ABSENT
from chirrup.lab.audit.complexity import (
    Complexity,
    count,
    latency_samples,
    nominal_latency_samples,
    receptive_field_samples,
)
from chirrup.lab.models import Model, build
from chirrup.lab.nn import Conv1d, ConvTranspose1d
from chirrup.lab.papers import PAPERS
from one_stream import streamed

# MFLOPS of the published configuration (github.com/cisco-open/espnet), to the last multiplication.
COUNTED = {
    "lrac-t1": {"encoder": 377.472, "quantizer": 17.0496, "decoder": 296.832},
    "lrac-t2": {"encoder": 1944.192, "quantizer": 38.7072, "decoder": 594.048},
}
NOT_FOLDED = {"lrac-t1": 19.3536, "lrac-t2": 47.9232}
PARAMETERS = {"lrac-t1": (255_392, 160_369), "lrac-t2": (1_149_552, 357_453)}
"""Parameters of encoder and decoder, without the gains of weight norm."""
RECEPTIVE_FIELD = {"lrac-t1": 14_085, "lrac-t2": 17_772}
LATENCY_SAMPLES = {"lrac-t1": 720, "lrac-t2": 1200}

both_tracks = pytest.mark.parametrize("name", COUNTED)


@cache
def lrac(name: str) -> Model:
    torch.manual_seed(0)
    return build(name).eval().requires_grad_(False)


@cache
def complexity(name: str) -> dict[str, Complexity]:
    return count(lrac(name))


def noise(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, 240 * frames, generator=generator)


@both_tracks
def test_complexity_is_that_of_the_configuration(name: str) -> None:
    counted = {part: figures.mflops for part, figures in complexity(name).items()}
    assert counted == pytest.approx(COUNTED[name], abs=1e-9)
    assert count(lrac(name), folded=True) == complexity(name)
    plain = {part: figures.mflops for part, figures in count(lrac(name), folded=False).items()}
    assert plain == pytest.approx(COUNTED[name] | {"quantizer": NOT_FOLDED[name]}, abs=1e-9)


@both_tracks
def test_complexity_is_the_papers_or_noted(name: str) -> None:
    """All figures equal the paper's to the printed digit, except one, which is explained."""
    paper = PAPERS[name]
    agree = {
        part: complexity(name)[part].mflops == pytest.approx(mflops, abs=0.05)
        for part, mflops in paper.mflops.items()
    }
    assert agree == {"encoder": True, "quantizer": True, "decoder": name == "lrac-t1"}
    assert (paper.note is None) == all(agree.values())


def test_the_paper_of_track_2_leaves_out_a_transposed_convolution() -> None:
    first = next(
        part for part in lrac("lrac-t2").decoder.layers if isinstance(part, ConvTranspose1d)
    )
    mflops = 2 * first.conv.weight.numel() * 100 / 1e6
    rest = complexity("lrac-t2")["decoder"].mflops - mflops
    assert rest == pytest.approx(563.328, abs=1e-9)
    assert PAPERS["lrac-t2"].mflops["decoder"] == round(rest, 1)


@both_tracks
def test_parameters(name: str) -> None:
    model = lrac(name)
    for part, expected in zip((model.encoder, model.decoder), PARAMETERS[name]):
        sizes = {key: value.numel() for key, value in part.named_parameters()}
        gains = [key for key in sizes if key.endswith("original0")]
        convolutions = [m for m in part.modules() if isinstance(m, Conv1d | ConvTranspose1d)]
        assert len(gains) == len(convolutions)
        assert sum(sizes.values()) - sum(sizes[key] for key in gains) == expected


@both_tracks
def test_codebooks_are_among_the_parameters_of_the_audit(name: str) -> None:
    config = lrac(name).config
    level = config.codebook_size * config.code_dim
    level += 2 * config.latent_dim * config.code_dim + config.latent_dim + config.code_dim
    assert complexity(name)["quantizer"].parameters == 6 * level


@both_tracks
def test_limits_of_the_challenge(name: str) -> None:
    paper = PAPERS[name]
    assert sum(part.mflops for part in complexity(name).values()) <= paper.limits_mflops["total"]
    assert complexity(name)["decoder"].mflops <= paper.limits_mflops["receiver"]
    assert paper.latency_limit_ms is not None
    latency_ms = 1000 * LATENCY_SAMPLES[name] / lrac(name).sample_rate_hz
    assert latency_ms <= paper.latency_limit_ms


@both_tracks
def test_bitrate(name: str) -> None:
    model = lrac(name)
    frames_per_second = model.sample_rate_hz / model.frame_samples
    bits = log2(model.codebook_size)
    assert (frames_per_second, bits, model.codebooks) == (100, 10, 6)
    assert model.codebook_bps == 1000
    assert PAPERS[name].bitrates_bps == (1000, 6000)
    codes = model.quantizer.encode(model.encoder.offline(noise(10)))
    assert codes.shape == (1, 6, 10)
    assert 0 <= int(codes.min()) <= int(codes.max()) < 2**10


@both_tracks
def test_latency(name: str) -> None:
    """The measured latency is exactly the look-ahead of the centred convolutions."""
    model, samples = lrac(name), LATENCY_SAMPLES[name]
    assert nominal_latency_samples(model) == samples
    assert latency_samples(model) == samples
    assert 1000 * samples / model.sample_rate_hz == PAPERS[name].latency_ms


@both_tracks
def test_receptive_field(name: str) -> None:
    """`span` equals the first sample with a gradient at the last frame."""
    model, field = lrac(name), RECEPTIVE_FIELD[name]
    assert receptive_field_samples(model.encoder) == field
    assert PAPERS[name].receptive_field_samples.get("encoder", field) == field
    audio = noise(80).requires_grad_()
    assert audio.shape[2] > field
    model.encoder.offline(audio)[0, :, -1].sum().backward()
    assert audio.grad is not None
    seen = audio.grad[0, 0].nonzero()[:, 0]
    assert int(seen[-1]) == audio.shape[2] - 1
    assert audio.shape[2] - int(seen[0]) == field


@both_tracks
@given(chunks=st.lists(st.integers(1, 12), min_size=2, max_size=8), seed=st.integers(0, 2**32))
@settings(max_examples=4)
def test_stream_equals_offline(name: str, chunks: list[int], seed: int) -> None:
    """At the paper's size, with random cuts; without the state the output differs."""
    model, audio = lrac(name), noise(sum(chunks), seed=seed)
    latent = model.encoder.offline(audio)
    quantized = model.quantizer.decode(model.quantizer.encode(latent))
    sound = model.decoder.offline(quantized)
    assert sound.shape == audio.shape
    sizes = [240 * frames for frames in chunks]
    for part, signal, pieces, whole in (
        (model.encoder, audio, sizes, latent),
        (model.decoder, quantized, chunks, sound),
    ):
        cut = signal.split(pieces, dim=2)
        torch.testing.assert_close(streamed(part, cut), whole, rtol=1e-5, atol=1e-5)
        assert float((streamed(part, cut, forget="") - whole).abs().max()) > 1e-3


@both_tracks
def test_lost_frames_change_nothing_before_them(name: str) -> None:
    model, frames, lost = lrac(name), 30, [11, 12, 20]
    audio, used = noise(frames, batch=2), torch.tensor([6, 1])
    present = torch.ones(2, frames, dtype=torch.bool)
    bypass = torch.tensor([False, False])
    whole, _ = model(audio, used, bypass, present)
    present[1, lost] = False
    output, quantized = model(audio, used, bypass, present)
    assert output.shape == audio.shape
    assert output.isfinite().all()
    assert torch.equal(output[0], whole[0]), "the other row lost nothing"
    start = lost[0] * model.frame_samples
    assert torch.equal(output[1, :, :start], whole[1, :, :start])
    assert not torch.equal(output[1, :, start : start + 10], whole[1, :, start : start + 10])

    codes = quantized.codes.clone()
    codes[1, 1:] = ABSENT
    codes[1, :, lost] = ABSENT
    decoded = model.decoder.offline(model.quantizer.decode(codes))
    torch.testing.assert_close(decoded, output, rtol=1e-5, atol=1e-5)


@both_tracks
def test_silence_comes_out_finite(name: str) -> None:
    model = lrac(name)
    audio, present = torch.zeros(1, 1, 2400), torch.ones(1, 10, dtype=torch.bool)
    output, quantized = model(audio, torch.tensor([6]), torch.tensor([False]), present)
    assert output.isfinite().all()
    assert float(output.abs().max()) <= 1
    assert quantized.commitment.isfinite()
