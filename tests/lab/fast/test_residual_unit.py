"""The fast residual unit against the plain one in double precision."""

import copy

import pytest
import torch
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.models.iris import UNITS, ResidualUnit

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")

KEY = "block.1.past"


def make(
    channels: int, dilation: int, groups: int, kernel_size: int = 5, expansion: int = 2
) -> ResidualUnit:
    torch.manual_seed(channels + dilation)
    unit = ResidualUnit(channels, dilation, groups, kernel_size, expansion)
    for name, parameter in unit.named_parameters():
        if "log_" in name:
            torch.nn.init.normal_(parameter, 0.3, 0.5)
    return unit


def run_fast(unit: ResidualUnit, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    fast.enable(unit)
    y, state = unit(x, {KEY: past})
    return y, state[KEY]


def plain(unit: ResidualUnit) -> ResidualUnit:
    other = copy.deepcopy(unit)
    other.fast = False
    return other


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value.detach().double() - expected.detach()).norm() / expected.detach().norm())


@pytest.mark.parametrize(
    ("kernel_size", "expansion", "dilation"),
    [
        (design.kernel_size, design.expansion, dilation)
        for design in UNITS.values()
        for dilation in (*design.dilations, 11)
    ],
)
@pytest.mark.parametrize(
    ("batch", "channels", "groups", "time"),
    [
        (2, 12, 4, 3001),
        (3, 24, 4, 517),
        (2, 48, 4, 1100),
        (2, 96, 4, 400),
        (1, 32, 8, 1025),
        (1, 64, 8, 33),
        (1, 128, 8, 5),
        (1, 256, 8, 100),
        (2, 10, 2, 40),
        (2, 12, 4, 1),
    ],
)
def test_equals_pure(
    batch: int,
    channels: int,
    groups: int,
    time: int,
    kernel_size: int,
    expansion: int,
    dilation: int,
) -> None:
    unit = make(channels, dilation, groups, kernel_size, expansion)
    x = (2 * torch.randn(batch, channels, time)).requires_grad_()
    past = torch.randn(batch, channels, (kernel_size - 1) * dilation, requires_grad=True)
    dy, d_after = torch.randn_like(x), torch.randn_like(past)
    y, after = run_fast(unit, x, past)
    gradients = torch.autograd.grad([y, after], [x, past, *unit.parameters()], [dy, d_after])

    pure = plain(unit).double()
    x, past = x.detach().double().requires_grad_(), past.detach().double().requires_grad_()
    expected, state = pure(x, {KEY: past})
    references = torch.autograd.grad(
        [expected, state[KEY]], [x, past, *pure.parameters()], [dy.double(), d_after.double()]
    )
    assert relative_error(y, expected) < 1e-6
    assert relative_error(after, state[KEY]) < 1e-6
    for gradient, reference in zip(gradients, references, strict=True):
        assert relative_error(gradient, reference) < 2e-5


def test_chunked_equals_whole() -> None:
    unit = make(12, 9, 4)
    x, start = torch.randn(2, 12, 500), torch.randn(2, 12, 36)
    with torch.no_grad():
        whole, end = run_fast(unit, x, start)
        chunks, past = [], start
        for chunk in x.split([7, 100, 1, 300, 92], dim=2):
            y, past = run_fast(unit, chunk, past)
            chunks.append(y)
    torch.testing.assert_close(torch.cat(chunks, dim=2), whole)
    torch.testing.assert_close(past, end)


def test_large_arguments() -> None:
    """Snake stays exact to float32 far from zero; the pure float32 version is the yardstick."""
    unit = make(12, 1, 4)
    x, past = 2000 * torch.randn(1, 12, 4000), torch.randn(1, 12, 4)
    with torch.no_grad():
        exact = plain(unit).double()(x.double(), {KEY: past.double()})[0]
        pure, _ = plain(unit)(x, {KEY: past})
        y, _ = run_fast(unit, x, past)
    assert (y - exact).abs().max() < 2 * (pure - exact).abs().max()


def test_same_result_each_time() -> None:
    unit = make(24, 3, 4)
    x, past = torch.randn(5, 24, 300, requires_grad=True), torch.zeros(5, 24, 12)
    runs = []
    for _ in range(2):
        y, _ = run_fast(unit, x, past)
        runs.append(torch.autograd.grad(y.square().sum(), [x, *unit.parameters()]))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))
