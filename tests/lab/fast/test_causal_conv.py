"""Fast causal convolutions, with and without an ELU before them, against the plain ones."""

import copy

import pytest
import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast import causal_conv
from chirrup.lab.nn import Conv1d, ConvTranspose1d, Sequential, Stateless, Streaming
from fast_forms import (
    assert_chunks_equal_whole,
    assert_same_result_each_time,
    errors,
    fast_form,
    relative_error,
)

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


@pytest.fixture(params=[0, 10**6], ids=["windows", "direct"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two forms computes every layer, independent of its size."""
    monkeypatch.setattr(causal_conv, "FEW_WEIGHTS", request.param)


def after_elu(layer: Streaming) -> Sequential:
    torch.manual_seed(0)
    return Sequential(Stateless(nn.ELU()), layer)


def assert_equals_plain(layer: Sequential, x: Tensor, bf16: bool) -> None:
    """Compare the fast forms of the layer after an ELU, and of the layer alone."""
    for layers in (layer, Sequential(layer.layers[1])):
        of_values, of_gradients = errors(layers, x)
        assert of_values < (1e-2 if bf16 else 2e-6)
        assert of_gradients < (1e-2 if bf16 else 2e-5)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "time"),
    [
        (1, 16, 7, 1, 3001),  # one input row, one output, and other numbers without a large divisor
        (16, 1, 7, 1, 500),
        (16, 8, 7, 1, 766),  # the last input steps are in a tile without outputs
        (5, 11, 3, 1, 77),
        (16, 24, 1, 1, 1500),
        (12, 24, 6, 3, 3000),  # strides with specialised code, and one without
        (16, 32, 4, 2, 2000),
        (24, 48, 8, 4, 1000),
        (6, 10, 10, 5, 400),
        (20, 12, 16, 8, 8),
        (100, 200, 3, 1, 1),
    ],
)
def test_conv_equals_plain(
    channels: int, outputs: int, kernel: int, stride: int, time: int, bf16: bool
) -> None:
    layer = after_elu(Conv1d(channels, outputs, kernel, stride=stride))
    assert_equals_plain(layer, torch.randn(2, channels, time), bf16)


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "dilation", "time"),
    [
        (8, 8, 5, 27, 3000),  # a context of a fraction of a tile
        (16, 16, 5, 9, 77),  # a context of half the time
        (32, 32, 5, 7, 20),  # a context longer than the time
        (4, 6, 2, 1700, 3500),  # a context longer than a tile
        (32, 3, 21, 2, 400),
        (5, 7, 3, 5, 1),
    ],
)
def test_dilated_conv_equals_plain(
    channels: int, outputs: int, kernel: int, dilation: int, time: int, bf16: bool
) -> None:
    layer = after_elu(Conv1d(channels, outputs, kernel, dilation=dilation))
    inner = layer.layers[1]
    assert isinstance(inner, Conv1d)
    assert causal_conv.takes_conv(inner.conv, bf16)
    assert_equals_plain(layer, torch.randn(2, channels, time), bf16)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "time"),
    [(32, 16, 4, 2, 1500), (10, 6, 16, 8, 40), (7, 5, 5, 5, 200), (3, 4, 9, 3, 1)],
)
def test_transposed_equals_plain(
    channels: int, outputs: int, kernel: int, stride: int, time: int, bf16: bool
) -> None:
    layer = after_elu(ConvTranspose1d(channels, outputs, kernel, stride=stride))
    assert_equals_plain(layer, torch.randn(2, channels, time), bf16)


@pytest.mark.usefixtures("form")
def test_rounds_no_factors_of_an_exact_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: True)
    of_values, of_gradients = errors(Conv1d(20, 30, 3, exact=True), torch.randn(2, 20, 50))
    assert of_values < 1e-6
    assert of_gradients < 1e-2


@pytest.mark.parametrize(
    ("layer", "bf16"),
    [
        (Conv1d(4, 8, 4, stride=2, dilation=2), True),
        (Conv1d(64, 64, 7, dilation=9), True),
        (Conv1d(4, 8, 3, groups=2), True),
        (Conv1d(4, 8, 3, bias=False), True),
        (Conv1d(128, 256, 3), False),
        (Conv1d(4, 8, 6), True),
    ],
)
def test_other_layers_stay_plain(
    layer: Conv1d, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: bf16)
    assert not causal_conv.takes_conv(layer.conv, bf16)
    plain = after_elu(layer)
    x = torch.randn(2, layer.conv.in_channels, 30)
    assert torch.equal(fast_form(plain).offline(x), plain.offline(x))


def test_another_elu_stays_plain() -> None:
    layer = Sequential(Stateless(nn.ELU(0.5)), Conv1d(8, 4, 3))
    x = torch.randn(1, 8, 30)
    assert relative_error(fast_form(layer).offline(x), layer.offline(x)) < 1e-2


def test_gradient_of_weights_alone() -> None:
    """The input of a model's first layer requires no gradient."""
    layer = Conv1d(1, 12, 7)
    x = torch.randn(2, 1, 300)
    (expected,) = torch.autograd.grad(layer.offline(x).square().sum(), [layer.conv.weight])
    quick = fast_form(copy.deepcopy(layer))
    (found,) = torch.autograd.grad(quick.offline(x).square().sum(), [quick.conv.weight])
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize(
    "layer",
    [
        Conv1d(12, 24, 8, stride=4),
        Conv1d(12, 24, 5, dilation=9),
        ConvTranspose1d(12, 6, 8, stride=4),
    ],
)
def test_chunked_equals_whole(layer: Streaming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: False)
    assert_chunks_equal_whole(after_elu(layer), torch.randn(2, 12, 400), [4, 100, 8, 288])


@pytest.mark.usefixtures("form")
def test_same_result_each_time(bf16: bool) -> None:
    assert_same_result_each_time(after_elu(Conv1d(12, 24, 8, stride=4)), torch.randn(3, 12, 400))
