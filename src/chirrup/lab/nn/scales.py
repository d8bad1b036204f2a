"""Weights that begin at the scale of the data."""

from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from chirrup.lab.nn.conv import Conv1d, ConvTranspose1d
from chirrup.lab.nn.conv2d import Conv2d, ConvTranspose2d
from chirrup.lab.nn.linear import ChunkLinear, Linear
from chirrup.lab.nn.streaming import Residual, Sequential

Convolution = Conv1d | ConvTranspose1d | Conv2d | ConvTranspose2d
DEVIATION = 0.5
"""Of the output of a layer that is not part of a residual block."""


@torch.no_grad()
def fit_scales(layers: Sequential, x: Tensor, last_deviation: float = DEVIATION) -> Tensor:
    """Start the convolutions anew so that ``x [batch, channels, time, ...]`` gets through unharmed.

    Quiet speech must not drown in biases, and a SnakeBeta fed beyond one period makes the gradient
    chaotic: so biases are zero, the output of every layer in the row has a deviation of 0.5 (the
    last one ``last_deviation``), and a residual block adds little.

    Returns:
        What the layers make of ``x``.
    """
    row = [layer for layer in layers.layers if isinstance(layer, Convolution)]
    for layer in layers.layers:
        added = _convolutions(layer.block)[-1:] if isinstance(layer, Residual) else []
        for part in _convolutions(layer):
            _draw(part, 0.25 if part in added else 1.0)
        if isinstance(layer, Convolution):
            deviation = last_deviation if layer is row[-1] else DEVIATION
            set_weight(layer.conv, layer.conv.weight * deviation / layer.offline(x).std())
        x = layer.offline(x)
    return x


@torch.no_grad()
def fit_deviations(layers: Sequential, x: Tensor) -> Tensor:
    """Scale the linear layers in a row so that their outputs have unit deviation and no mean.

    With PyTorch's own start each of them halves what varies and keeps what does not. After a dozen
    of them frames look alike.

    Returns:
        What the layers make of ``x``.
    """
    for layer in layers.layers:
        if isinstance(layer, Linear | ChunkLinear):
            layer.linear.weight /= layer.offline(x).std()
            if layer.linear.bias is not None:
                layer.linear.bias.zero_()
                mean = layer.offline(x).mean(dim=(0, 2))
                layer.linear.bias.sub_(mean.repeat(len(layer.linear.bias) // len(mean)))
        x = layer.offline(x)
    return x


def _convolutions(layer: nn.Module) -> list[Convolution]:
    return [part for part in layer.modules() if isinstance(part, Convolution)]


def _draw(layer: Convolution, scale: float) -> None:
    weight = layer.conv.weight
    if isinstance(layer, ConvTranspose1d | ConvTranspose2d):
        fan_in = weight.shape[0] * weight[0, 0].numel() / prod(layer.conv.stride)
        bias = layer.bias
    else:
        fan_in, bias = weight[0].numel(), layer.conv.bias
    if bias is not None:
        nn.init.zeros_(bias)
    set_weight(layer.conv, torch.randn_like(weight) * scale * fan_in**-0.5)


def scale_weight(conv: nn.Module, factor: float) -> None:
    """Multiply a convolution's weight; under weight norm its gains, and no direction."""
    if is_parametrized(conv, "weight"):
        cast(Tensor, cast(nn.ModuleDict, conv.parametrizations)["weight"].original0).mul_(factor)
    else:
        cast(Tensor, conv.weight).mul_(factor)


def set_weight(conv: nn.Module, weight: Tensor) -> None:
    """Give a convolution a weight; under weight norm this sets its parts."""
    if is_parametrized(conv, "weight"):
        conv.weight = weight
    else:
        cast(Tensor, conv.weight).copy_(weight)
