"""The fast spectral terms against the plain ones in double precision."""

import copy

import pytest
import torch
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.fast.spectral_loss import TERMS
from chirrup.lab.training.losses.spectral_loss import SpectralLoss
from fast_forms import relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")

SPEECH = ((64, 128, 256, 512, 1024, 2048), (10, 20, 40, 80, 160, 320))


def make(n_ffts: tuple[int, ...], mels: tuple[int, ...], rate_hz: int = 24000) -> SpectralLoss:
    loss = SpectralLoss(rate_hz, n_ffts, mels, wavefm_n_ffts=n_ffts[-1:])
    fast.enable(loss)
    return loss


def pair(batch: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return noise of changing level with silent parts, and a noisy estimate of it."""
    generator = torch.Generator().manual_seed(samples)
    level = torch.rand(batch, samples // 200 + 1, generator=generator).sub(0.2).clamp(min=0)
    level = level.repeat_interleave(200, 1)[:, :samples]
    target = 2 * level * torch.randn(batch, samples, generator=generator)
    error = 0.3 * level * torch.randn(batch, samples, generator=generator)
    return (target + error).requires_grad_(), target


def exact(
    loss: SpectralLoss, estimate: Tensor, target: Tensor, terms: set[str], d_values: Tensor
) -> tuple[Tensor, Tensor]:
    """Return values and gradient of the plain form in double precision."""
    plain = copy.deepcopy(loss).double()
    plain.fast = False
    estimate = estimate.detach().double().requires_grad_()
    values = plain(estimate, target.double(), terms)
    value = torch.stack([values[term] for term in sorted(terms)])
    (gradient,) = torch.autograd.grad(value, estimate, d_values.double())
    return value.detach(), gradient


@pytest.mark.parametrize(
    ("n_ffts", "mels", "batch", "samples"),
    [
        (*SPEECH, 1, 5000),
        ((32, 1024), (5, 64), 3, 1600),  # three frames of the longer window
        ((16, 512), (4, 64), 1, 3001),  # bands without a bin, samples after the last frame
        ((64, 256), (8, 20), 2, 256 + 64 * 16),  # one frame more than the lanes of a vector
    ],
)
@pytest.mark.parametrize(
    "terms",
    [*({term} for term in sorted(TERMS)), {"mel", "complex"}, {"wavefm"}, TERMS | {"wavefm"}],
)
def test_equals_plain(
    n_ffts: tuple[int, ...], mels: tuple[int, ...], batch: int, samples: int, terms: set[str]
) -> None:
    loss = make(n_ffts, mels)
    estimate, target = pair(batch, samples)
    values = loss(estimate, target, terms)
    assert values.keys() == terms
    value = torch.stack([values[term] for term in sorted(terms)])
    d_values = torch.linspace(1, 2, len(terms))
    (gradient,) = torch.autograd.grad(value, estimate, d_values)
    expected, reference = exact(loss, estimate, target, terms, d_values)
    torch.testing.assert_close(value.detach().double(), expected, rtol=2e-6, atol=0)
    assert relative_error(gradient, reference) < 3e-5


def test_other_windows_and_terms_take_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    plainly: list[set[str]] = []
    monkeypatch.setattr(SpectralLoss, "_plain", lambda *x: plainly.append(x[-1]) or {})
    audio = pair(1, 1000)
    make((64, 128), (8, 8))(*audio, {"mel", "wavefm"})
    make((64, 120), (8, 8))(*audio, {"mel", "stft"})
    assert plainly == [{"wavefm"}, {"mel", "stft"}]


def test_silence_against_silence_has_no_loss_and_no_gradient() -> None:
    loss = make((64, 256), (8, 20))
    estimate, target = torch.zeros(2, 2000, requires_grad=True), torch.zeros(2, 2000)
    value = torch.stack(list(loss(estimate, target, TERMS).values()))
    (gradient,) = torch.autograd.grad(value.sum(), estimate)
    assert (value == 0).all()
    assert (gradient == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_values_stay_non_finite(bad: float) -> None:
    """Values are non-finite, and training skips a step with a non-finite gradient."""
    loss = make((64, 256), (8, 20))
    estimate, target = pair(1, 2000)
    with torch.no_grad():
        estimate[0, 1000] = bad
    for term in TERMS:
        value = loss(estimate, target, {term})[term]
        (gradient,) = torch.autograd.grad(value, estimate)
        assert not value.isfinite()
        assert not gradient.isfinite().all()


def test_no_gradient_for_inputs_without_requires_grad() -> None:
    loss = make((64, 256), (8, 20))
    estimate, target = pair(2, 2000)
    with torch.no_grad():
        values = loss(estimate, target, TERMS)
    for term, value in loss(estimate, target, TERMS).items():
        assert not values[term].requires_grad
        assert torch.equal(values[term], value)
    assert loss(estimate, target, set()) == {}


def test_clips_shorter_than_a_window_are_refused() -> None:
    loss = make((64, 256), (8, 20))
    with pytest.raises(ValueError, match=r"256 samples or more\], not \[1, 255\]"):
        loss(*pair(1, 255), {"mel"})
