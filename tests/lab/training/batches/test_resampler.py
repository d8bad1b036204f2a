"""Resampling, against soxr and with tones."""

import numpy as np
import pytest
import soxr
import torch
from torch import Tensor

from chirrup.lab.training.batches.resampler import Resampler

RATES = [(24_000, 16_000), (24_000, 48_000), (44_100, 16_000), (16_000, 24_000)]


def tone(hz: float, rate_hz: int, seconds: float = 0.5) -> Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.85])
def test_a_tone_stays_a_tone(from_hz: int, to_hz: int, share: float) -> None:
    """Position and level are right up to 85 % of the narrower band."""
    hz = share * min(from_hz, to_hz) / 2
    got = Resampler(from_hz, to_hz)(tone(hz, from_hz)[None, None])[0, 0]
    expected = tone(hz, to_hz)
    assert got.shape == expected.shape
    middle = slice(len(got) // 4, -len(got) // 4)
    assert float((got - expected)[middle].abs().max()) < 5e-3


@pytest.mark.parametrize("hz", [8500, 10_000, 11_900])
def test_tones_above_the_lower_band_are_removed(hz: float) -> None:
    got = Resampler(24_000, 16_000)(tone(hz, 24_000)[None, None])[0, 0]
    assert float(got[1000:-1000].abs().max()) < 1e-2


def test_it_agrees_with_soxr() -> None:
    random = np.random.default_rng(0)
    spectrum = np.fft.rfft(random.standard_normal(24_000))
    spectrum[6500:] = 0
    noise = np.fft.irfft(spectrum).astype(np.float32)
    got = Resampler(24_000, 16_000)(torch.from_numpy(noise)[None, None])[0, 0].numpy()
    expected = soxr.resample(noise, 24_000, 16_000)
    error = (got - expected)[500:-500]
    assert np.square(error).mean() < 1e-5 * np.square(expected).mean()


@pytest.mark.parametrize("samples", [1920, 1921, 1922, 7])
def test_length_and_rows(samples: int) -> None:
    audio = torch.randn(3, 2, samples)
    resampler = Resampler(24_000, 16_000)
    got = resampler(audio)
    assert got.shape == (3, 2, -(-samples * 2 // 3))
    torch.testing.assert_close(got[1, 1], resampler(audio[1:2, 1:])[0, 0])


def test_one_rate_is_nothing() -> None:
    audio = torch.randn(1, 1, 100)
    assert Resampler(24_000, 24_000)(audio) is audio
