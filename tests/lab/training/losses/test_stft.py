"""Transforms with another backward, against PyTorch's."""

import pytest
import torch
from torch import Tensor

from chirrup.lab.training.losses.stft import rfft, stft


def weighted(spectrum: Tensor) -> Tensor:
    """Return a sum in which every number has another weight."""
    weights = torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(1))
    return (spectrum.real * weights).sum() + (spectrum.imag * weights.flip(-1)).sum()


@pytest.mark.parametrize(("size", "samples"), [(64, 64), (64, 50), (64, 70), (51, 40)])
def test_rfft(size: int, samples: int) -> None:
    signal = torch.randn(3, samples, dtype=torch.float64, requires_grad=True)
    expected = torch.fft.rfft(signal, size)
    spectrum = rfft(signal, size)
    torch.testing.assert_close(spectrum, expected)
    gradients = [torch.autograd.grad(weighted(x), signal)[0] for x in (spectrum, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("n_fft", "hop", "samples"), [(64, 16, 500), (64, 64, 128), (64, 24, 300), (51, 12, 51)]
)
def test_stft(n_fft: int, hop: int, samples: int) -> None:
    window = torch.hann_window(n_fft, dtype=torch.float64)
    audio = torch.randn(2, samples, dtype=torch.float64, requires_grad=True)
    expected = torch.fft.rfft(audio.unfold(1, n_fft, hop) * window) / window.square().sum().sqrt()
    spectrum = stft(audio, window, hop)
    torch.testing.assert_close(spectrum, expected)
    gradients = [torch.autograd.grad(weighted(x), audio)[0] for x in (spectrum, expected)]
    torch.testing.assert_close(*gradients)
