"""FocalCodec-Stream has the parameters and operations of the published model."""

import pytest
import torch

from chirrup.lab.audit.complexity import count, latency_samples, nominal_latency_samples
from chirrup.lab.models import build
from chirrup.lab.papers import PAPERS

PAPER = ["focal-2k", "focal-4k", "focal-65k"]


def parameters(part: torch.nn.Module) -> float:
    return sum(p.numel() for p in part.parameters()) / 1e6


@pytest.mark.parametrize("name", PAPER)
def test_parameters(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    features, compressor = model.encoder.layers
    decompressor, waveform = model.decoder.layers
    parts = {
        "features": features,
        "compressor": compressor,
        "decompressor": decompressor,
        "waveform": waveform,
    }
    for part, layer in parts.items():
        assert parameters(layer) == pytest.approx(PAPERS[name].parameters_m[part], abs=0.02), part
    assert parameters(model) == pytest.approx(249.04, abs=0.02)
    assert parameters(model.quantizer) == 0


def test_multiplications() -> None:
    """Count convolutions and linear layers for one second of audio on the device "meta"."""
    with torch.device("meta"):
        model = build("focal-65k")
    counted = {part: figure.mflops for part, figure in count(model).items()}
    paper = PAPERS["focal-65k"].mflops
    for part, layers in (
        ("encoder", ("features", "compressor")),
        ("decoder", ("decompressor", "waveform")),
    ):
        assert paper[part] == sum(paper[layer] for layer in layers)
        assert counted[part] == pytest.approx(paper[part], rel=0.005)
    assert counted["quantizer"] == paper["quantizer"] == 0
    assert sum(counted.values()) / 2000 == pytest.approx(13.4, abs=0.05)


@pytest.mark.parametrize("name", PAPER)
def test_the_audit_has_these_costs(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    paper = PAPERS[name]
    assert paper.bitrates_bps == (model.codebook_bps,)
    assert paper.latency_ms == 80
    for part, counted in count(model).items():
        assert counted.mflops == pytest.approx(paper.mflops[part], rel=0.005)
        assert counted.parameters / 1e6 == pytest.approx(paper.parameters_m[part], abs=0.03)


def test_small_costs_little() -> None:
    with torch.device("meta"):
        model = build("focal-small")
    figures = count(model).values()
    assert sum(figure.parameters for figure in figures) / 1e6 == pytest.approx(24.1, abs=0.1)
    assert sum(figure.mflops for figure in figures) / 2000 < 0.82


@pytest.mark.parametrize(("name", "bps"), list(zip(PAPER, (550, 600, 800), strict=True)))
def test_bitrates(name: str, bps: float) -> None:
    with torch.device("meta"):
        model = build(name)
    assert model.codebook_bps == bps
    assert (model.input_rate_hz, model.input_frame_samples) == (16_000, 320)
    assert (model.sample_rate_hz, model.frame_samples) == (24_000, 480)
    assert (model.codebooks, model.chunk_frames, model.delay_samples) == (1, 4, 0)


def test_latency() -> None:
    """A chunk is 80 ms. The measured latency is less.

    A frame sees the first sample of its stride only, so the last frame depends on no sample of the
    chunk's last 319.
    """
    with torch.device("meta"):
        model = build("focal-2k")
    assert nominal_latency_samples(model) / model.sample_rate_hz == 0.080
    depends = latency_samples(model.narrow())
    assert depends == -(-961 * 3 // 2)
