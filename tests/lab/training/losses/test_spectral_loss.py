"""Spectral losses against slow definitions, and for extreme inputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.training.losses.reconstruction import normalise_level
from chirrup.lab.training.losses.spectral_loss import (
    FLOOR,
    SpectralLoss,
    wavefm_term,
)
from chirrup.lab.training.losses.stft import mel_filterbank
from small_model import RATE_HZ, speech_like

TERMS = {"mel", "mel_magnitude", "log_mel", "stft", "complex", "wavefm", "soundstream"}
SMALL = {"n_ffts": (64, 256), "mels": (8, 20), "wavefm_n_ffts": (256,)}


def small() -> SpectralLoss:
    return SpectralLoss(RATE_HZ, **SMALL)


def pair(samples: int = 1500) -> tuple[Tensor, Tensor]:
    target = torch.from_numpy(np.stack([speech_like(samples, seed) for seed in (0, 1)]))
    noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    return normalise_level(0.8 * target + 0.01 * noise, target, target)


def slow_spectra(audio: np.ndarray, n_fft: int) -> np.ndarray:
    """Return ``[frames, bins]`` by the definition of the Fourier transform."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    turn = np.exp(-2j * np.pi * np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) / n_fft)
    starts = range(0, len(audio) - n_fft + 1, n_fft // 4)
    frames = np.stack([audio[start : start + n_fft] * window for start in starts])
    return frames @ turn / math.sqrt(np.square(window).sum())


def slow_terms(estimate: np.ndarray, target: np.ndarray) -> dict[str, float]:
    sums = dict.fromkeys(sorted(TERMS), 0.0)
    all_weights = sum(1 + math.sqrt(n_fft - 1) for n_fft in SMALL["n_ffts"])
    for n_fft, bands in zip(SMALL["n_ffts"], SMALL["mels"]):
        bank = mel_filterbank(RATE_HZ, n_fft, bands).double().numpy()
        bank = bank / np.maximum(bank.sum(0), 1e-9)
        x = np.stack([slow_spectra(row, n_fft) for row in estimate])
        y = np.stack([slow_spectra(row, n_fft) for row in target])
        x_size, y_size = np.sqrt(abs(x) ** 2 + FLOOR**2), np.sqrt(abs(y) ** 2 + FLOOR**2)
        bands_apart = np.log(x_size @ bank) - np.log(y_size @ bank)
        sums["mel"] += np.abs(bands_apart / np.log(10)).mean() / 2
        sums["mel_magnitude"] += np.abs((x_size - y_size) @ bank).mean() / 2
        l1, l2 = np.abs(bands_apart).mean(), np.square(bands_apart).mean()
        sums["log_mel"] += (l1 + math.sqrt(n_fft - 1) * l2) / all_weights
        x_mel, y_mel = np.maximum(x_size @ bank, FLOOR), np.maximum(y_size @ bank, FLOOR)
        squares = np.square(np.log(x_mel) - np.log(y_mel)).mean()
        sums["soundstream"] += (np.abs(x_mel - y_mel).mean() + math.sqrt(n_fft / 2) * squares) / 2
        convergence = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(x_size, y_size)]
        logs = np.abs(np.log(x_size) - np.log(y_size)).mean()
        sums["stft"] += (logs + np.mean(convergence)) / 2
        difference = x * x_size**-0.7 - y * y_size**-0.7
        sums["complex"] += np.abs([difference.real, difference.imag]).mean() / 2
        if n_fft in SMALL["wavefm_n_ffts"]:
            weight = y_size**0.3
            angle = np.abs(np.angle(x * y.conj() + FLOOR**2))
            heard = np.minimum(1, x_size / y_size)
            term = (angle * weight * heard).sum() / weight.sum() / np.pi
            error = np.log(x_size) - np.log(y_size)
            for axis in (1, 2):
                term += 0.25 * np.abs(np.diff(error, axis=axis)).mean()
                term += 0.25 * np.abs(np.diff(error, n=2, axis=axis)).mean()
            sums["wavefm"] += term
    return sums


def test_quiet_bins_do_not_rule_the_phase() -> None:
    """The gradient of a quiet bin's phase is as large as that of a loud bin."""
    y = torch.randn(1, 9, 20, dtype=torch.complex64)
    sizes = []
    for level in (1.0, 0.03):
        x = (level * y * torch.exp(torch.tensor(0.5j))).requires_grad_()
        wavefm_term(x, y, x.detach().abs().log(), y.abs().log()).backward()
        assert x.grad is not None
        sizes.append(float(x.grad.abs().mean()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize("term", sorted(TERMS))
def test_terms_are_those_of_a_slow_reference(term: str) -> None:
    estimate, target = pair()
    value = small()(estimate, target, {term})
    expected = slow_terms(estimate.double().numpy(), target.double().numpy())
    assert set(value) == {term}
    assert float(value[term]) == pytest.approx(expected[term], rel=2e-3)


def test_terms_are_the_same_alone_and_together() -> None:
    estimate, target = pair()
    together = small()(estimate, target, TERMS)
    for term in TERMS:
        assert_close(small()(estimate, target, {term})[term], together[term])
    assert small()(estimate, target, set()) == {}


def test_all_is_zero_at_equality_and_the_gradient_finite() -> None:
    _, target = pair(5000)
    estimate = target.clone().requires_grad_()
    terms = SpectralLoss(RATE_HZ)(estimate, target, TERMS)
    terms["waveform"] = F.l1_loss(estimate, target)
    for name, value in terms.items():
        assert abs(float(value.detach())) < 1e-5, name
    torch.stack(list(terms.values())).sum().backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()


@pytest.mark.parametrize("term", sorted(TERMS | {"waveform"}))
def test_terms_grow_with_the_error(term: str) -> None:
    _, target = pair(5000)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    loss = SpectralLoss(RATE_HZ)

    def value(scale: float) -> float:
        estimate = target + scale * noise
        if term == "waveform":
            return float(F.l1_loss(estimate, target))
        return float(loss(estimate, target, {term})[term])

    values = [value(scale) for scale in (0.0, 0.01, 0.1, 1.0)]
    assert values == sorted(values)
    assert values[-1] > 2 * values[1] > 0


@pytest.mark.parametrize("estimate_level", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("target_level", [0.0, 1e-6, 0.1])
def test_silence_has_finite_losses_and_gradients(
    estimate_level: float, target_level: float
) -> None:
    noise = torch.randn(2, 2, 4560, generator=torch.Generator().manual_seed(0))
    raw = (estimate_level * noise[0]).requires_grad_()
    estimate, target = normalise_level(raw, target_level * noise[1], target_level * noise[1])
    terms = SpectralLoss(RATE_HZ)(estimate, target, TERMS)
    terms["waveform"] = F.l1_loss(estimate, target)
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("gain", [0.05, 20.0])
def test_normalised_loss_does_not_depend_on_level(gain: float) -> None:
    estimate, target = pair(5000)
    estimate, target = 0.1 * estimate, 0.1 * target
    loss = SpectralLoss(RATE_HZ)
    values = []
    for factor in (1.0, gain):
        x, y = normalise_level(factor * estimate, factor * target, factor * target)
        assert_close(y.square().mean(1), torch.ones(2), atol=1e-4, rtol=0)
        values.append(loss(x, y, TERMS) | {"waveform": F.l1_loss(x, y)})
    for name, value in values[0].items():
        assert_close(values[1][name], value, rtol=1e-3, atol=1e-5)


def test_level_is_the_targets_row_by_row() -> None:
    target = torch.stack([torch.full((100,), 0.5), torch.full((100,), 0.01)])
    estimate, normal = normalise_level(torch.ones(2, 100), target, target)
    assert_close(normal, torch.ones(2, 100))
    assert_close(estimate[:, 0], torch.tensor([2.0, 100.0]))


def test_level_has_a_floor_where_the_target_is_silent() -> None:
    """The level is a tenth of the input's, so a silent target is not raised to full level."""
    levels = [(0.0, 0.5, 0.05), (0.02, 0.5, 0.05), (0.2, 0.5, 0.2), (0.0, 0.0, 1e-3)]
    target, heard, expected = (torch.tensor(row)[:, None] for row in zip(*levels))
    estimate, normal = normalise_level(torch.ones(4, 100), target.expand(4, 100), heard)
    assert_close(estimate, (1 / expected).expand(4, 100))
    assert_close(normal, (target / expected).expand(4, 100))


DAC_SCALES = {
    "n_ffts": (32, 64, 128, 256, 512, 1024, 2048),
    "mels": (5, 10, 20, 40, 80, 160, 320),
}


@pytest.mark.parametrize(("rate_hz", "empty"), [(16_000, 0), (24_000, 0), (44_100, 0), (48_000, 2)])
def test_a_band_without_a_bin_counts_for_nothing(rate_hz: int, empty: int) -> None:
    """Its logarithm would not be finite. DAC's scales have such bands at 48 kHz."""
    loss = SpectralLoss(rate_hz, **DAC_SCALES)
    banks = [loss.get_buffer(f"mel_{n_fft}") for n_fft in DAC_SCALES["n_ffts"]]
    assert sum(bank.shape[1] for bank in banks) == sum(DAC_SCALES["mels"]) - empty
    for bank in banks:
        assert_close(bank.sum(0), torch.ones(bank.shape[1]))
    estimate = torch.randn(1, 5000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = loss(estimate, torch.zeros(1, 5000), {"mel", "mel_magnitude", "log_mel"})
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()


def test_mel_magnitudes_weight_loud_tones() -> None:
    """An error in dB of a loud or of a soft tone has one value of ``mel``.

    Below 1 kHz, where all filters are as wide.
    """
    time = torch.arange(6000) / RATE_HZ
    soft, loud = (torch.sin(2 * torch.pi * hz * time)[None] for hz in (300, 700))
    loss, target = SpectralLoss(RATE_HZ, (2048,), (80,)), 1.4 * loud + 0.1 * soft
    values = [
        loss(estimate, target, {"mel", "mel_magnitude"})
        for estimate in (1.4 * loud + 0.2 * soft, 2.8 * loud + 0.1 * soft)
    ]
    ratio = [float(values[1][term] / values[0][term]) for term in ("mel", "mel_magnitude")]
    assert ratio[0] < 3
    assert ratio[1] == pytest.approx(14, rel=0.15)


def test_mel_filters_lie_where_slaney_put_them() -> None:
    bank = mel_filterbank(RATE_HZ, 2048, 80)
    assert bank.shape == (1025, 80)
    assert (bank >= 0).all()
    centres = bank.argmax(0) * RATE_HZ / 2048
    assert (centres.diff() > 0).all()
    assert_close(centres[:15].diff().float().mean(), torch.tensor(39.1), atol=3.0, rtol=0)
    areas = bank.sum(0) * RATE_HZ / 2048
    assert_close(areas[20:], torch.ones(60), atol=0.05, rtol=0)
