"""The fast residual unit against the plain one in double precision."""

import pytest
import torch

from chirrup.lab import fast
from chirrup.lab.models.iris import UNITS, ResidualUnit
from fast_forms import (
    assert_chunks_equal_whole,
    assert_same_result_each_time,
    errors,
    fast_form,
    random_state,
)

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def make(
    channels: int, dilation: int, groups: int, kernel_size: int = 5, expansion: int = 2
) -> ResidualUnit:
    torch.manual_seed(channels + dilation)
    unit = ResidualUnit(channels, dilation, groups, kernel_size, expansion)
    for name, parameter in unit.named_parameters():
        if "log_" in name:
            torch.nn.init.normal_(parameter, 0.3, 0.5)
    return unit


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
def test_equals_plain(
    batch: int,
    channels: int,
    groups: int,
    time: int,
    kernel_size: int,
    expansion: int,
    dilation: int,
) -> None:
    unit = make(channels, dilation, groups, kernel_size, expansion)
    of_values, of_gradients = errors(unit, 2 * torch.randn(batch, channels, time))
    assert of_values < 1e-6
    assert of_gradients < 2e-5


def test_chunked_equals_whole() -> None:
    assert_chunks_equal_whole(make(12, 9, 4), torch.randn(2, 12, 500), [7, 100, 1, 300, 92])


def test_large_arguments() -> None:
    """Far from zero, Snake is as exact as the plain float32 version."""
    unit = make(12, 1, 4)
    x, state = 2000 * torch.randn(1, 12, 4000), random_state(unit, 1)
    double = {key: value.double() for key, value in state.items()}
    with torch.no_grad():
        pure, _ = unit(x, state)
        y, _ = fast_form(unit)(x, state)
        exact, _ = unit.double()(x.double(), double)
    assert (y - exact).abs().max() < 2 * (pure - exact).abs().max()


def test_same_result_each_time() -> None:
    assert_same_result_each_time(make(24, 3, 4), torch.randn(5, 24, 300))
