"""The loss of loudness against another implementation of ITU-R BS.1770."""

import numpy as np
import pytest
import torch

from chirrup.lab.training.losses.loudness import loudness_difference
from small_model import RATE_HZ, speech_like

pyloudnorm = pytest.importorskip("pyloudnorm", reason="pip install 'chirrup[data]'")


def test_the_difference_is_that_of_the_standard() -> None:
    clips = np.stack([speech_like(4 * RATE_HZ, seed) for seed in range(3)])
    noise = np.random.default_rng(0).standard_normal(clips.shape, np.float32)
    spoiled = np.array([[0.5], [1.0], [2.0]], np.float32) * clips + 0.01 * noise
    estimate, target = torch.from_numpy(spoiled), torch.from_numpy(clips)
    found = loudness_difference(estimate, target, RATE_HZ)
    meter = pyloudnorm.Meter(RATE_HZ)
    expected = [
        meter.integrated_loudness(a) - meter.integrated_loudness(b)
        for a, b in zip(spoiled.astype(float), clips.astype(float))
    ]
    assert found.tolist() == pytest.approx(expected, abs=0.2)


def test_a_gain_is_found_in_short_clips_and_beside_pauses() -> None:
    clip = torch.from_numpy(speech_like(2 * RATE_HZ))
    clip[RATE_HZ // 2 :] *= 1e-4
    for samples in (RATE_HZ // 5, 2 * RATE_HZ):
        target = clip[None, :samples]
        difference = loudness_difference(10 ** (-3 / 20) * target, target, RATE_HZ)
        assert difference.tolist() == pytest.approx([-3.0], abs=1e-3)


def test_silence_has_a_finite_gradient() -> None:
    silent = torch.zeros(1, RATE_HZ, requires_grad=True)
    loudness_difference(silent, silent.detach(), RATE_HZ).abs().sum().backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()
