"""Fast convolutions of discriminators and distances of features against the plain ones."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.discriminators import (
    feature_distance,
    period_conv,
    takes_thin_conv,
    thin_conv,
)
from chirrup.lab.training.adversarial import losses
from chirrup.lab.training.adversary_config import DiscriminatorConfig
from fast_forms import relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")

FLOAT32, BFLOAT16 = 1e-5, 1e-2
"""Largest relative errors. bfloat16 has 8 significant bits."""


def compare(
    quick: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor], x: Tensor, conv: nn.Conv2d
) -> list[float]:
    """Return relative errors of the output and of the gradients of input, weight and bias."""
    x.requires_grad_()
    assert conv.bias is not None
    parameters: list[Tensor] = [x, conv.weight, conv.bias]
    y, expected = quick(x), plain(x)
    assert y.shape == expected.shape
    direction = torch.randn_like(expected)
    found = torch.autograd.grad(y, parameters, direction.to(y.dtype))
    right = torch.autograd.grad(expected, parameters, direction)
    return [relative_error(a, b) for a, b in zip((y, *found), (expected, *right), strict=True)]


@pytest.mark.parametrize("slope", [0.1, 1.0])
@pytest.mark.parametrize(
    ("rows", "time", "channels", "outputs", "kernel", "stride"),
    [(4, 400, 1, 8, 5, 3), (6, 133, 8, 32, 5, 3), (2, 45, 32, 40, 5, 1), (3, 7, 5, 1, 3, 1)],
)
def test_period_conv(
    rows: int, time: int, channels: int, outputs: int, kernel: int, stride: int, slope: float
) -> None:
    torch.manual_seed(time)
    conv = nn.Conv2d(channels, outputs, (kernel, 1), (stride, 1), (kernel // 2, 0))

    def plain(x: Tensor) -> Tensor:
        y = conv(x.transpose(1, 2)[..., None])[..., 0]
        return F.leaky_relu(y, slope).transpose(1, 2)

    def quick(x: Tensor) -> Tensor:
        return period_conv(x, conv, slope)

    assert max(compare(quick, plain, torch.randn(rows, time, channels), conv)) < FLOAT32


def test_period_conv_in_bfloat16_rounds_and_nothing_else() -> None:
    """There is no rectifier, because rounding may change the sign of its input."""
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, (5, 1), (3, 1), (2, 0))

    def plain(x: Tensor) -> Tensor:
        return conv(x.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)

    def quick(x: Tensor) -> Tensor:
        return period_conv(x.bfloat16(), conv, 1.0)

    assert max(compare(quick, plain, torch.randn(4, 300, 16), conv)) < BFLOAT16


@pytest.mark.parametrize(
    ("batch", "planes", "height", "width", "outputs", "kernel"),
    [(2, 1, 75, 64, 16, (3, 9)), (1, 2, 20, 33, 32, (3, 9)), (2, 3, 9, 5, 16, (3, 3))],
)
@pytest.mark.parametrize("bf16", [False, True])
def test_thin_conv(
    batch: int,
    planes: int,
    height: int,
    width: int,
    outputs: int,
    kernel: tuple[int, int],
    bf16: bool,
) -> None:
    torch.manual_seed(width)
    conv = nn.Conv2d(planes, outputs, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    assert takes_thin_conv(conv)

    def plain(x: Tensor) -> Tensor:
        return F.leaky_relu(conv(x), 0.1)

    def quick(x: Tensor) -> Tensor:
        return thin_conv(x, conv, 0.1, bf16)

    errors = compare(quick, plain, torch.randn(batch, planes, height, width), conv)
    assert max(errors) < (BFLOAT16 if bf16 else FLOAT32)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(16, 16, (3, 9), padding=(1, 4)),
        nn.Conv2d(1, 8, (3, 9), padding=(1, 4)),
        nn.Conv2d(1, 16, (3, 9), (1, 2), padding=(1, 4)),
        nn.Conv2d(1, 16, (3, 9)),
        nn.Conv2d(1, 16, (3, 3), padding=(2, 1), dilation=(2, 1)),
    ],
)
def test_thin_conv_leaves_other_convolutions_alone(conv: nn.Conv2d) -> None:
    assert not takes_thin_conv(conv)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_feature_distance(kind: torch.dtype, normalise: bool) -> None:
    torch.manual_seed(0)
    real = torch.randn(2, 9, 700, requires_grad=True).to(kind)
    fake = torch.randn(2, 9, 700).to(kind).requires_grad_()
    with torch.no_grad():
        fake[0, 0] = real[0, 0]
    plain = fake.detach().float().requires_grad_()
    expected = (real.detach().float() - plain).abs().mean()
    if normalise:
        expected = expected / real.detach().float().abs().mean()
    distance = feature_distance(real, fake, normalise)
    (3 * distance).backward()
    (3 * expected).backward()
    assert float(distance.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert fake.grad is not None
    assert plain.grad is not None
    assert relative_error(fake.grad, plain.grad) < (FLOAT32 if kind is torch.float32 else BFLOAT16)
    assert not bool(fake.grad[0, 0].any())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("multi_period", {"channels": [8, 16, 24], "periods": [2, 5]}),
        ("multi_scale", {"channels": [16] * 7, "scales": 2}),
        ("mel", {"channels": 16}),
        ("stft", {"channels": 16, "n_ffts": [256, 512]}),
        ("subband_stft", {"channels": 16, "n_ffts": [512]}),
    ],
)
def test_losses_through_whole_discriminators(kind: str, options: dict[str, object]) -> None:
    """Compare values and gradients of the fast form with the plain form, for both losses."""
    torch.manual_seed(1)
    member = DiscriminatorConfig.model_validate({"kind": kind, "options": options})
    discriminator = losses.build_discriminator(member).eval()  # fixes the spectral norms
    target, estimate = torch.randn(2, 2, 1, 6000).unbind(0)
    estimate = (0.3 * estimate).requires_grad_()

    def run(quick: bool) -> list[Tensor]:
        real, fake = discriminator(target), discriminator(estimate)
        own = losses.hinge_discriminator_loss(real, fake)
        features = losses.feature_matching_loss(real, fake, normalise=True, fast=quick)
        through = losses.hinge_generator_loss(fake) + features
        gradients = torch.autograd.grad(own, list(discriminator.parameters()), retain_graph=True)
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        return [own, through, *torch.autograd.grad(through, estimate), whole]

    plain = run(False)
    fast.enable(discriminator)
    for found, expected in zip(run(True), plain, strict=True):
        assert relative_error(found, expected) < 3e-3  # some inputs of rectifiers are near zero
