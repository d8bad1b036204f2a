"""The fast band magnitudes and powers against matrix products in double precision."""

import pytest
import torch
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.fast.bands import band_magnitudes, band_powers
from chirrup.lab.fast.filters import filters
from chirrup.lab.training.losses.pesq_loss import PESQLoss
from chirrup.lab.training.losses.stft import mel_filterbank
from fast_forms import relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def plain(signal: Tensor, window: Tensor, hop: int, bank: Tensor, power: int) -> Tensor:
    spectrum = torch.fft.rfft(signal.unfold(1, len(window), hop) * window)
    return spectrum.abs() ** power @ bank


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    ("n_fft", "hop", "bands", "batch", "samples"),
    [
        (512, 256, 48, 2, 9000),
        (1024, 256, 80, 1, 1024),
        (32, 9, 5, 3, 32 + 9 * 16),
        (64, 16, 40, 2, 800),
    ],
)
def test_equals_plain(
    n_fft: int, hop: int, bands: int, batch: int, samples: int, power: int
) -> None:
    generator = torch.Generator().manual_seed(n_fft)
    window, bank = torch.hann_window(n_fft), mel_filterbank(24000, n_fft, bands)
    signal = torch.randn(batch, samples, generator=generator, requires_grad=True)
    sums = (band_powers if power == 2 else band_magnitudes)(signal, filters(window, bank), hop)
    d_sums = torch.randn(sums.shape, generator=generator)
    (gradient,) = torch.autograd.grad(sums, signal, d_sums)

    exact = signal.detach().double().requires_grad_()
    expected = plain(exact, window.double(), hop, bank.double(), power)
    (reference,) = torch.autograd.grad(expected, exact, d_sums.double())
    assert relative_error(sums, expected) < 1e-6
    assert relative_error(gradient, reference) < 2e-6


def test_silence_has_no_gradient() -> None:
    signal = torch.zeros(1, 1000, requires_grad=True)
    tables = filters(torch.hann_window(64), torch.ones(33, 2))
    (gradient,) = torch.autograd.grad(band_magnitudes(signal, tables, 16).sum(), signal)
    assert (gradient == 0).all()


def test_a_window_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="the window has 96 samples, not a power of two"):
        filters(torch.hann_window(96), torch.ones(49, 2))


def test_pesq_is_equal() -> None:
    generator = torch.Generator().manual_seed(0)
    target = 0.05 * torch.randn(2, 24_000, generator=generator).cumsum(1).sin()
    estimate = target + 0.01 * torch.randn(2, 24_000, generator=generator)
    results = []
    for loss in (PESQLoss(), PESQLoss()):
        if results:
            fast.enable(loss)
        estimate = estimate.detach().requires_grad_()
        value = loss(estimate, target)
        (gradient,) = torch.autograd.grad(value.sum(), estimate)
        results.append((value.detach(), loss.score(estimate, target).detach(), gradient))
    for plain_one, fast_one in zip(*results, strict=True):
        torch.testing.assert_close(fast_one, plain_one, rtol=1e-4, atol=1e-6)
