"""The fast forms of convolutions over spectrograms against the plain layers in double precision."""

import copy

import pytest
import torch
from torch import nn

from chirrup.lab import fast
from chirrup.lab.models.spectrostream import bottleneck, down, square, up
from chirrup.lab.nn import Sequential2d, Streaming, elu
from fast_forms import (
    assert_chunks_equal_whole,
    assert_same_result_each_time,
    errors,
    fast_form,
    random_state,
    relative_error,
)

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")

BINS = 12
STRIDES = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 1))
WIDTHS = ((6, 10), (20, 34), (16, 70))
"""Fewer channels than vector lanes, no multiple of 16, and more than four vectors."""


def levels() -> dict[str, tuple[int, Streaming]]:
    """Return layers by name, with the number of input channels."""
    torch.manual_seed(0)
    every: dict[str, tuple[int, Streaming]] = {}
    for stride, (a, b) in zip(STRIDES, WIDTHS * 2):
        for folds in (False, True):
            about = f"{stride}, {a} to {b} channels, {'folded' if folds else 'averaged'}"
            every[f"down {about}"] = a, down(a, b, BINS, stride, folds)
            every[f"up {about}"] = a, up(a, b, BINS, stride, folds)
    every["bottleneck"] = 8, bottleneck(8, BINS)
    every["first"] = 2, square(2, 8, BINS, 7)
    every["last"] = 16, Sequential2d(elu(), square(16, 2, BINS, 7))
    for _, level in every.values():
        for name, parameter in level.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter)
    return every


LEVELS = levels()


@pytest.mark.parametrize("name", LEVELS)
def test_equals_plain(name: str) -> None:
    channels, level = LEVELS[name]
    of_values, of_gradients = errors(level, torch.randn(2, channels, 8, BINS))
    assert of_values < 1e-6
    assert of_gradients < 3e-6


@pytest.mark.parametrize("name", LEVELS)
def test_in_bfloat16(name: str) -> None:
    """Output and gradients agree with double precision, as far as the type allows."""
    torch.manual_seed(0)
    channels, level = LEVELS[name]
    x, state = torch.randn(2, channels, 8, BINS), random_state(level, 2)
    results = []
    for kind in (torch.float32, torch.float64):
        layer = fast_form(level) if kind is torch.float32 else copy.deepcopy(level).double()
        own = x.to(kind).requires_grad_()
        inputs = [own, *layer.parameters()]
        with torch.autocast("cpu", torch.bfloat16, enabled=kind is torch.float32):
            y, _ = layer(own, {key: value.to(kind) for key, value in state.items()})
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(y.shape, generator=generator).to(y)
        results.append([y, *torch.autograd.grad((y * weights).sum(), inputs)])
    for value, expected in zip(*results, strict=True):
        assert relative_error(value, expected) < 3e-2


@pytest.mark.parametrize("name", [name for name in LEVELS if "(2, 2)" in name or "(1, 3)" in name])
def test_chunked_equals_whole(name: str) -> None:
    channels, level = LEVELS[name]
    assert_chunks_equal_whole(level, torch.randn(2, channels, 16, BINS), [2, 8, 6])


def test_same_result_each_time() -> None:
    channels, level = LEVELS["up (2, 2), 6 to 10 channels, folded"]
    assert_same_result_each_time(level, torch.randn(2, channels, 8, BINS))


def test_odd_channels_are_computed_by_the_plain_form_in_bfloat16() -> None:
    """The bfloat16 product instruction multiplies pairs of values."""
    plain = Sequential2d(elu(), square(3, 8, BINS))
    layer, x = fast_form(plain), torch.randn(1, 3, 4, BINS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.offline(x), plain.offline(x))
