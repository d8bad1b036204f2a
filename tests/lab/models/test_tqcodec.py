"""TQCodec's operations, bitrates, receptive field and latency, and its streaming."""

import copy
from collections.abc import Callable
from functools import cache
from math import log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chirrup.codes import ABSENT
from chirrup.lab.audit.complexity import (
    count,
    latency_samples,
    nominal_latency_samples,
    receptive_field_samples,
)
from chirrup.lab.export.folding import fold, for_export
from chirrup.lab.models import CONFIGS, Model, build
from chirrup.lab.models.tqcodec import TQConfig
from chirrup.lab.nn import LSTM, Parallel, Sequential
from chirrup.lab.papers import PAPERS
from chirrup.lab.quantizers.simvq import SimVQLevel
from one_stream import streamed

FRAMES_PER_SECOND = 44_100 / 64
NARROW = {"encoder_dim": 4, "decoder_dim": 4, "latent_dim": 16, "codebooks": 3}
"""Return a narrow model, for tests that depend on no width."""


@cache
def model(name: str, **changes: int) -> Model:
    torch.manual_seed(0)
    made = build(name, **changes).eval().requires_grad_(False)
    made.start(noise(64 * 200, batch=2))
    return made


def narrow() -> Model:
    return model("tq", **NARROW)


def narrow_subband() -> Model:
    return model("tq-subband", **NARROW, upper_dim=2, upper_latent_dim=4)


def noise(samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, samples, generator=generator)


# --- operations ----------------------------------------------------------------------------------


def network(channels: int, latent: int, up_at_output: bool = False, up: bool = True) -> int:
    """Add up the multiply-accumulates per frame of a SEANet with strides 2, 4 and 8.

    Encoder and decoder have equal layers, except that the decoder's strided layers are transposed.

    Args:
        up_at_output: count a transposed convolution at the rate of its output, like the package
            thop, although only every ``stride``-th of its inputs differs from zero.
        up: whether it is a decoder.
    """
    total, rate, width = 64 * 7 * channels, 64, channels
    for stride in (2, 4, 8):
        half = width // 2
        unit = width * half * 3 + half * width + width * width
        wrongly = stride if up and up_at_output else 1
        total += rate * unit + rate // stride * width * 2 * width * 2 * stride * wrongly
        rate, width = rate // stride, 2 * width
    assert rate == 1
    return total + 2 * 2 * 4 * width * width + 7 * width * latent


def giga(macs: int) -> float:
    """Billion multiply-accumulates per second."""
    return macs * FRAMES_PER_SECOND / 1e9


def counted(name: str) -> dict[str, float]:
    return {part: figures.mflops / 2000 for part, figures in count(build(name)).items()}


@pytest.mark.parametrize("name", ["tq", "tq-small"])
def test_operations(name: str) -> None:
    figures, config = counted(name), CONFIGS[name][1]
    assert isinstance(config, TQConfig)
    assert config.encoder_dim == config.decoder_dim
    by_hand = giga(network(config.encoder_dim, config.latent_dim))
    assert figures["encoder"] == pytest.approx(by_hand, rel=1e-6)
    assert figures["decoder"] == pytest.approx(by_hand, rel=1e-6)
    quantizer = giga(20 * (2 * 128 * 8 + 512 * 8))  # SimVQ's maps are folded into the tables
    assert figures["quantizer"] == pytest.approx(quantizer, rel=1e-6)


def test_the_papers_counts() -> None:
    """The encoder's 2.4 GMAC/s is true; the decoder's 6.31 counts the same network wrongly."""
    encoder, decoder = (PAPERS["tq"].mflops[part] / 2000 for part in ("encoder", "decoder"))
    assert giga(network(32, 128)) == pytest.approx(2.47, abs=0.005)
    assert giga(network(32, 128)) == pytest.approx(encoder, rel=0.035)
    wrong = giga(network(32, 128, up_at_output=True))
    assert wrong == pytest.approx(6.28, rel=0.005)
    assert wrong == pytest.approx(decoder, rel=0.01)


def test_small_is_a_quarter() -> None:
    assert giga(network(16, 128)) == pytest.approx(0.66, abs=0.005)


def test_imbalanced_encoder() -> None:
    """A width of 176 has the table's 72 GMAC/s, as nearly as a width can; the text has 80."""
    paper = PAPERS["tq-imbalanced"].mflops["encoder"] / 2000
    config = TQConfig.imbalanced()
    assert config.decoder_dim == 32
    assert giga(network(config.encoder_dim, 128)) == pytest.approx(paper, rel=0.025)
    parameters = sum(p.numel() for p in build("tq-imbalanced").encoder.parameters())
    assert parameters / 1e6 == pytest.approx(53.1, abs=0.1)


def test_subband_cost_is_near_the_paper() -> None:
    """The network for the upper bands has a quarter of the width: 0.15; the paper has 0.17."""
    figures, upper = counted("tq-subband"), giga(network(8, 24))
    assert upper == pytest.approx(0.154, abs=0.0005)
    extra = (PAPERS["tq-subband"].mflops["encoder"] - PAPERS["tq"].mflops["encoder"]) / 2000
    assert upper == pytest.approx(extra, rel=0.1)
    for part in ("encoder", "decoder"):
        assert figures[part] == pytest.approx(giga(network(32, 128)) + upper, rel=1e-6)
    config = TQConfig.subband()
    assert 4 * config.upper_dim == config.encoder_dim
    assert config.upper_latent_dim == 6 * (config.bands - config.core_bands)
    assert config.joined_latent_dim == 152


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_parameters(part: str) -> None:
    assert count(build("tq"))[part].parameters / 1e6 == pytest.approx(1.95, abs=0.005)


# --- rates, receptive field, latency -------------------------------------------------------------


@pytest.mark.parametrize("name", ["tq", "tq-imbalanced", "tq-subband", "tq-small"])
def test_frame_rate_and_bitrates(name: str) -> None:
    config = CONFIGS[name][1]
    assert config.sample_rate_hz / config.frame_samples == pytest.approx(689, abs=0.1)
    codebook = log2(config.codebook_size) * config.sample_rate_hz / config.frame_samples
    assert codebook == 6201.5625
    kbps = {books: round(books * codebook / 1000, 1) for books in (5, 7, 9, 10, 20)}
    assert kbps == {5: 31.0, 7: 43.4, 9: 55.8, 10: 62.0, 20: 124.0}
    assert config.codebooks == 20


def test_codes() -> None:
    made = model("tq-small")
    assert made.codebook_bps == 6201.5625
    codes = made.quantizer.encode(made.encoder.offline(noise(64 * 40)))
    assert codes.shape == (1, 20, 40)
    assert 0 <= int(codes.min()) <= int(codes.max()) < 512
    assert len(codes.unique()) > 100
    assert all(isinstance(level, SimVQLevel) for level in made.quantizer.trained_levels)


def without_lstm(part: Sequential) -> Sequential:
    return Sequential(
        *(layer for layer in part.layers if not any(isinstance(m, LSTM) for m in layer.modules()))
    )


def test_receptive_field() -> None:
    """1062 samples by `span` and by gradients at the first sample of a frame, 998 at the last.

    The LSTM, which depends on the whole past, is left out. No network has both the paper's 2410
    samples and its operations.
    """
    made, frames = narrow(), 40
    assert PAPERS["tq"].receptive_field_samples == {"autoencoder": 2410}
    assert receptive_field_samples(made.encoder) == 550
    parts = (without_lstm(copy.deepcopy(part)) for part in (made.encoder, made.decoder))
    whole = Sequential(*parts).double()
    assert receptive_field_samples(whole, made.frame_samples) == 1062
    fields = []
    for place in (0, 63):
        audio = noise(frames * 64).double().requires_grad_()
        whole.offline(audio)[0, 0, 30 * 64 + place].backward()
        assert audio.grad is not None
        seen = audio.grad[0, 0].nonzero()[:, 0]
        assert int(seen[-1]) == 31 * 64 - 1
        fields.append(int(seen[-1] - seen[0]) + 1)
    assert fields == [1062, 998]


def test_receptive_field_through_filter_banks() -> None:
    """The wider of the two networks counts, with the filter banks before and after it."""
    encoder = copy.deepcopy(narrow_subband().encoder)
    split, networks = encoder.layers
    assert isinstance(networks, Parallel)
    bare = [without_lstm(part) for part in networks.branches if isinstance(part, Sequential)]
    encoder = Sequential(split, Parallel(networks.channels, *bare)).double()
    assert receptive_field_samples(encoder) == 1041
    audio = noise(40 * 64).double().requires_grad_()
    encoder.offline(audio)[0, :, -1].sum().backward()
    assert audio.grad is not None
    assert len(audio.grad[0, 0]) - int(audio.grad[0, 0].nonzero()[0]) == 1041


def test_latency_is_one_frame() -> None:
    """64 samples, 1.45 ms: everything is causal."""
    made = narrow()
    assert made.delay_samples == 0
    assert latency_samples(made) == nominal_latency_samples(made) == 64


def test_latency_of_the_subband_model() -> None:
    """The filter banks of encoder and decoder add 241 samples each: 12.4 ms in total.

    The measured latency is less, because products of the banks' outermost taps vanish.
    """
    made = narrow_subband()
    assert made.delay_samples == 2 * (257 - 16)
    assert nominal_latency_samples(made) == 546
    assert 400 < latency_samples(made) <= 546


# --- as one stream -------------------------------------------------------------------------------


both_kinds = pytest.mark.parametrize("made", [narrow, narrow_subband])


@both_kinds
@given(chunks=st.lists(st.integers(1, 12), min_size=2, max_size=8), seed=st.integers(0, 2**32))
@settings(max_examples=8)
def test_stream_equals_offline(made: Callable[[], Model], chunks: list[int], seed: int) -> None:
    codec = made()
    audio = noise(64 * sum(chunks), batch=2, seed=seed)
    latent = codec.encoder.offline(audio)
    pieces = audio.split([64 * frames for frames in chunks], dim=2)
    torch.testing.assert_close(streamed(codec.encoder, pieces), latent, rtol=1e-5, atol=1e-5)
    # Decode the offline codes: rounding errors can change the codes of the streamed encoder.
    quantized = codec.quantizer.decode(codec.quantizer.encode(latent))
    offline = codec.decoder.offline(quantized)
    assert offline.shape == audio.shape
    pieces = quantized.split(chunks, dim=2)
    torch.testing.assert_close(streamed(codec.decoder, pieces), offline, rtol=1e-5, atol=1e-5)


@both_kinds
@torch.no_grad()
def test_every_state_matters(made: Callable[[], Model]) -> None:
    """Negative control: if any state is forgotten between chunks, the output differs."""
    codec = made()
    audio, frames = noise(64 * 30), [7, 11, 12]
    latent = codec.encoder.offline(audio)
    for part, x, sizes in (
        (codec.encoder, audio, [64 * size for size in frames]),
        (codec.decoder, latent, frames),
    ):
        whole = part.offline(x)
        for key in part.initial_state(1):
            error = (streamed(part, x.split(sizes, dim=2), forget=key) - whole).abs().max()
            assert error > 1e-5, f"{key} could be left out"


def test_a_lost_frame_changes_nothing_before_it() -> None:
    codec, frames, lost = narrow(), 20, 11
    audio, bypass = noise(frames * 64, batch=2), torch.zeros(2, dtype=torch.bool)
    used, present = torch.tensor([3, 2]), torch.ones(2, frames, dtype=torch.bool)
    whole, _ = codec(audio, used, bypass, present)
    present[1, lost] = False
    output, quantized = codec(audio, used, bypass, present)
    assert torch.equal(output[0], whole[0])
    assert torch.equal(output[1, :, : lost * 64], whole[1, :, : lost * 64])
    assert not torch.equal(output[1], whole[1])
    codes = quantized.codes.clone()
    codes[1, 2:] = ABSENT
    codes[1, :, lost] = ABSENT
    decoded = codec.decoder.offline(codec.quantizer.decode(codes))
    torch.testing.assert_close(decoded, output, rtol=1e-5, atol=1e-5)


@both_kinds
@torch.no_grad()
def test_silence_comes_out_finite(made: Callable[[], Model]) -> None:
    codec = made()
    output, quantized = codec(
        torch.zeros(1, 1, 64 * 20), torch.tensor([3]), torch.tensor([False]), torch.ones(1, 20) > 0
    )
    assert output.isfinite().all()
    assert quantized.commitment.isfinite()


# --- bands, start, export ------------------------------------------------------------------------


@torch.no_grad()
def test_each_network_has_its_own_bands() -> None:
    """A tone of 20 kHz passes through the upper network only."""
    codec = narrow_subband()
    encoders, decoders = codec.encoder.layers[1], codec.decoder.layers[0]
    assert isinstance(encoders, Parallel)
    assert isinstance(decoders, Parallel)
    time = torch.arange(64 * 60) / 44_100
    tone = torch.sin(2 * torch.pi * 20_000 * time)[None, None]
    shares = codec.encoder.layers[0].offline(tone).split(encoders.channels, dim=1)
    core, upper = (
        branch.get_submodule("0").offline(share)[:, :, 600:].std()  # type: ignore[operator]
        for branch, share in zip(encoders.branches, shares, strict=True)
    )
    assert float(core) < 1e-3 < 0.5 < float(upper)

    def spectrum(silent: int) -> tuple[float, float]:
        """Return the power below and above 16.5 kHz without one network's signal."""
        bands = decoders.offline(torch.randn(1, 20, 200))
        halves = list(bands.split(encoders.channels, dim=1))
        halves[silent] = torch.zeros_like(halves[silent])
        audio = codec.decoder.layers[1].offline(torch.cat(halves, dim=1))
        power = torch.fft.rfft(audio[0, 0] * torch.hann_window(audio.shape[2])).abs().square()
        edge = len(power) * 12 // 16
        return float(power[: edge - 600].sum()), float(power[edge + 600 :].sum())

    below, above = spectrum(silent=1)
    assert above < 1e-6 * below
    below, above = spectrum(silent=0)
    assert below < 1e-6 * above


@both_kinds
@torch.no_grad()
def test_start_passes_the_sound_on_at_its_level(made: Callable[[], Model]) -> None:
    codec = made()
    audio = noise(64 * 200, seed=1)
    output = codec.decoder.offline(codec.encoder.offline(audio))
    assert float(output.std() / audio.std()) == pytest.approx(1, rel=0.5)


@torch.no_grad()
def test_graph_modules_are_the_folded_model() -> None:
    folded = fold(narrow())
    encoder, decoder = for_export(folded)
    expected = folded.quantizer.encode(folded.encoder.offline(noise(64 * 30)))
    states = folded.encoder.initial_state(1).values()
    codes, *_ = encoder(noise(64 * 30)[:, 0], *states)
    assert (codes == expected).float().mean() > 0.99
    sound = folded.decoder.offline(folded.quantizer.decode(expected))[:, 0]
    got, *_ = decoder(expected.int(), *folded.decoder.initial_state(1).values())
    torch.testing.assert_close(got, sound, rtol=0, atol=1e-5)
