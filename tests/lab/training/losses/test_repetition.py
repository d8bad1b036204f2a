"""The loss of repetition, of signals with a known share that repeats."""

import pytest
import torch
from torch import Tensor

from chirrup.lab.training.losses.repetition import repetition

SECONDS = 4


def noise(samples: int, seed: int) -> Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_pulses_in_noise(rate_hz: int) -> None:
    """Pulses 20 ms apart that are a quarter of a window from its ends.

    The power of the window is 2/3 of its mean there, so pulses with 80 % of the power of a signal
    have 0.8 * 2/3 in every bin of every frame, and noise has 0.2.
    """
    period = rate_hz // 50
    target, other = (noise(SECONDS * rate_hz, seed) for seed in (0, 1))
    pulses = torch.zeros(2, SECONDS * 50, period)
    pulses[:, :, period // 4] = period**0.5
    pulses = pulses.flatten(1)
    assert float(repetition(pulses, target, rate_hz)) == pytest.approx(1, abs=0.01)
    mixed = 0.8**0.5 * pulses + 0.2**0.5 * other
    expected = (0.8 * 2 / 3 / (0.8 * 2 / 3 + 0.2)) ** 2
    assert float(repetition(mixed, target, rate_hz)) == pytest.approx(expected, abs=0.01)
    assert float(repetition(other, target, rate_hz)) == pytest.approx(0, abs=0.002)


def test_tones_of_the_target_cost_nothing() -> None:
    time_s = torch.arange(48_000) / 48_000
    tone = torch.sin(2 * torch.pi * 5000 * time_s).expand(2, -1)
    target = tone + 0.1 * noise(48_000, 0)
    assert float(repetition(target, target, 48_000)) == 0
    low = torch.sin(2 * torch.pi * 500 * time_s).expand(2, -1)
    assert float(repetition(low + 0.1 * noise(48_000, 1), noise(48_000, 2), 48_000)) < 0.02


def test_gradients_are_finite() -> None:
    """Also of silence, and of clips that are too short for a lag."""
    for estimate in (torch.zeros(2, 24_000), noise(24_000, 0), noise(1000, 0)):
        leaf = estimate.clone().requires_grad_()
        (repetition(leaf, noise(leaf.shape[1], 1), 24_000) + 0 * leaf.sum()).backward()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_gradient_descent_removes_a_pattern() -> None:
    target = noise(9600, 0)
    estimate = (noise(480, 1).repeat(1, 20) + 0.1 * noise(9600, 2)).requires_grad_()
    optimiser = torch.optim.Adam([estimate], 0.05)
    first = float(repetition(estimate.detach(), target, 24_000))
    for _ in range(30):
        optimiser.zero_grad()
        repetition(estimate, target, 24_000).backward()
        optimiser.step()
    assert first > 0.9
    assert float(repetition(estimate.detach(), target, 24_000)) < 0.3
