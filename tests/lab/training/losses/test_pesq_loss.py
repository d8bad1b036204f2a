"""The differentiable PESQ against the reference implementation and on degenerate signals."""

import numpy as np
import pytest
import torch
from torch import Tensor

from chirrup.lab.training.losses import pesq_loss
from chirrup.lab.training.losses.pesq_loss import PESQLoss

RATE_HZ = 24000


def speech_like(seed: int, seconds: float = 3.0) -> Tensor:
    """Return voiced syllables with moving pitch and three formants, fricatives and pauses."""
    random = np.random.default_rng(seed)
    samples = int(seconds * RATE_HZ)
    time = np.arange(samples) / RATE_HZ
    pitch_hz = random.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    knots = np.linspace(0, seconds, 12)
    formants = [
        np.interp(time, knots, random.uniform(low, high, len(knots)))
        for low, high in ((300, 800), (900, 2200), (2400, 3200))
    ]
    voice = np.zeros(samples)
    for harmonic in range(1, 40):
        frequency = harmonic * pitch_hz
        gain = sum(1 / (1 + ((frequency - formant) / 120) ** 2) for formant in formants)
        voice += (gain + 0.02) * (frequency < 7000) * np.sin(harmonic * phase)
    hiss = np.diff(random.standard_normal(samples + 1))
    syllable = np.maximum(0, np.sin(2 * np.pi * 2.2 * time + random.uniform(0, 6))) ** 0.5
    hissing = np.maximum(0, np.sin(2 * np.pi * 1.1 * time)) ** 8
    wave = voice / voice.std() * syllable + 0.15 * hiss * hissing
    wave *= (time % 1.5) < 1.2
    return torch.from_numpy(0.08 * wave).float()


def with_noise(speech: Tensor, snr_db: float, seed: int = 0) -> Tensor:
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(seed))
    return speech + noise * speech.square().mean(-1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)


def low_pass(speech: Tensor, cutoff_hz: float) -> Tensor:
    spectrum = torch.fft.rfft(speech)
    frequency = torch.fft.rfftfreq(speech.shape[-1], 1 / RATE_HZ)
    return torch.fft.irfft(spectrum / (1 + (frequency / cutoff_hz) ** 8), speech.shape[-1])


def quantise(speech: Tensor, bits: int) -> Tensor:
    steps = 2 ** (bits - 1)
    companded = speech.sign() * (255 * speech.abs()).log1p() / np.log(256)
    companded = (companded * steps).round() / steps
    return companded.sign() * (companded.abs() * np.log(256)).expm1() / 255


def reference_score(estimate: Tensor, target: Tensor) -> float:
    pesq = pytest.importorskip("pesq").pesq
    resample_poly = pytest.importorskip("scipy.signal").resample_poly
    estimate_16k, target_16k = (resample_poly(x.numpy(), 2, 3) for x in (estimate, target))
    return pesq(16000, target_16k, estimate_16k, "wb")


def test_agrees_with_the_reference() -> None:
    loss = PESQLoss()
    references, scores = [], []
    for seed in range(3):
        target = speech_like(seed)
        degraded = [with_noise(target, snr_db) for snr_db in (0, 10, 20, 30, 40)]
        degraded += [low_pass(target, cutoff_hz) for cutoff_hz in (1500, 3500)]
        degraded += [quantise(target, bits) for bits in (5, 7)]
        references += [reference_score(estimate, target) for estimate in degraded]
        scores += loss.score(torch.stack(degraded), target.expand(len(degraded), -1)).tolist()
    assert np.ptp(references) > 2.5
    assert np.corrcoef(references, scores)[0, 1] > 0.995
    assert np.abs(np.subtract(references, scores)).mean() < 0.05


@pytest.mark.parametrize("rate_hz", [16000, 24000, 44100, 48000])
def test_identical_is_best_at_any_rate(rate_hz: int) -> None:
    target = speech_like(0, 1.5)[None]
    loss = PESQLoss(rate_hz)
    assert loss(target, target) == pytest.approx(0, abs=1e-3)
    assert loss.score(target, target) == pytest.approx(4.644, abs=1e-3)


def test_loss_falls_and_score_rises_with_snr() -> None:
    target = speech_like(1, 1.0)
    noisy = torch.stack([with_noise(target, snr_db) for snr_db in range(-10, 45, 5)])
    targets = target.expand_as(noisy)
    loss = PESQLoss()
    assert (loss(noisy, targets).diff() < 0).all()
    assert (loss.score(noisy, targets).diff() > 0).all()


def test_level_does_not_matter() -> None:
    target = speech_like(2, 1.0)[None]
    noisy = with_noise(target, 15)
    loss = PESQLoss()
    torch.testing.assert_close(loss(0.1 * noisy, target), loss(noisy, target), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        loss.score(10 * noisy, target), loss.score(noisy, target), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("gain", [4, 12])
def test_a_burst_at_the_beginning_does_not_pay(gain: float) -> None:
    """Alignment by the estimate's own level would lower the rest, and its noise with it."""
    target = speech_like(3, 1.0)[None, 4800:]
    noisy = with_noise(target, 5)
    burst = torch.cat([gain * target[:, :480], noisy[:, 480:]], 1)
    loss = PESQLoss()
    assert loss(burst, target) > loss(noisy, target)


@pytest.mark.parametrize("part", ["clip", "burst", "band"])
def test_too_loud_counts_in_the_loss(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard compensates it, and a decoder would become loud."""
    target = speech_like(2, 1.0)[None]
    noisy = with_noise(target, 15)
    if part == "band":
        louder = 10 * noisy - 9 * low_pass(noisy, 1500)
    else:
        louder = noisy.clone()
        louder[:, slice(4800, 12000) if part == "burst" else slice(None)] *= 10
    loss = PESQLoss()
    scored = 4.5 - raw_mos(loss.score(louder, target))
    assert loss(louder, target) > loss(noisy, target) + 0.5
    assert loss(louder, target) > scored + 0.5
    counted = loss(louder, target)
    monkeypatch.setattr(pesq_loss, "LOSS_LOUDER", float("inf"))
    assert counted > loss(louder, target) + 0.5


def raw_mos(score: Tensor) -> Tensor:
    """Invert P.862.2's mapping to MOS-LQO."""
    return (torch.logit((score - 0.999) / 4) + 3.8224) / 1.3669


ZERO, SPEECH = torch.zeros(RATE_HZ), speech_like(3, 1.0)
IMPULSE = (torch.arange(RATE_HZ) == RATE_HZ // 2).float()


@pytest.mark.parametrize(
    ("estimate", "target"),
    [
        pytest.param(SPEECH, SPEECH, id="identical"),
        pytest.param(ZERO, SPEECH, id="zero estimate"),
        pytest.param(SPEECH, ZERO, id="zero target"),
        pytest.param(ZERO, ZERO, id="both zero"),
        pytest.param(1e-6 * SPEECH, SPEECH, id="near silence"),
        pytest.param(1e-25 * SPEECH, SPEECH, id="denormal power"),
        pytest.param((100 * SPEECH).clamp(-1, 1), SPEECH, id="clipped"),
        pytest.param(1e4 * with_noise(SPEECH, 0), SPEECH, id="huge"),
        pytest.param(ZERO + 0.5, SPEECH, id="constant"),
        pytest.param(IMPULSE, SPEECH, id="impulse estimate"),
        pytest.param(SPEECH, IMPULSE, id="impulse target"),
        pytest.param(SPEECH[:800], SPEECH[100:900], id="one frame"),
    ],
)
def test_gradient_is_finite(estimate: Tensor, target: Tensor) -> None:
    estimate = estimate[None].clone().requires_grad_()
    loss = PESQLoss()(estimate, target[None])
    loss.sum().backward()
    assert loss.isfinite().all()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


def test_gradient_is_the_slope() -> None:
    target = speech_like(4, 1.0)[None]
    noisy = with_noise(target, 10).requires_grad_()
    loss = PESQLoss()
    (gradient,) = torch.autograd.grad(loss(noisy, target).sum(), noisy)
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        slope = (loss(noisy + step, target) - loss(noisy - step, target)) / 2e-3
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.1)


def test_silent_target_has_no_loss() -> None:
    loss = PESQLoss()
    assert loss(SPEECH[None], ZERO[None]).item() < 1e-3


def test_rows_are_independent() -> None:
    targets = torch.stack([speech_like(5, 1.0), ZERO, speech_like(6, 1.0)])
    estimates = torch.stack([with_noise(target, 12, seed=7) for target in targets])
    loss = PESQLoss()
    together = loss(estimates, targets)
    alone = torch.cat([loss(estimates[[row]], targets[[row]]) for row in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_computes_in_float32_under_autocast() -> None:
    target = speech_like(0, 1.0)[None]
    noisy = with_noise(target, 15)
    loss = PESQLoss()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(noisy, target)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(noisy, target))


def test_descent_raises_the_reference_score() -> None:
    target = speech_like(8, 2.0)
    estimate = with_noise(target, 15)
    before = reference_score(estimate, target)
    estimate = estimate.clone().requires_grad_()
    optimiser = torch.optim.Adam([estimate], lr=5e-4)
    loss = PESQLoss()
    for _ in range(20):
        optimiser.zero_grad()
        loss(estimate[None], target[None]).sum().backward()
        optimiser.step()
    assert reference_score(estimate.detach(), target) > before + 0.2


def test_unfit_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="16 kHz"):
        PESQLoss(8000)
    with pytest.raises(ValueError, match="batch, samples"):
        PESQLoss()(ZERO, ZERO)
    with pytest.raises(ValueError, match="one frame"):
        PESQLoss()(ZERO[None, :100], ZERO[None, :100])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_same_on_cuda() -> None:
    target = speech_like(0, 1.0)[None]
    noisy = with_noise(target, 15)
    on_cuda = PESQLoss().cuda()(noisy.cuda(), target.cuda()).cpu()
    torch.testing.assert_close(on_cuda, PESQLoss()(noisy, target), rtol=1e-3, atol=1e-4)
