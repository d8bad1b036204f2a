"""Data-dependent initialisation: weights whose outputs have a given standard deviation."""

from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from chirrup.lab.nn.branches import Residual
from chirrup.lab.nn.conv import Conv1d, ConvTranspose1d
from chirrup.lab.nn.conv2d import Conv2d, ConvTranspose2d
from chirrup.lab.nn.linear import ChunkLinear, Linear
from chirrup.lab.nn.streaming import Sequential

Convolution = Conv1d | ConvTranspose1d | Conv2d | ConvTranspose2d
DEVIATION = 0.5
"""Standard deviation of the output of a convolution outside residual blocks."""


@torch.no_grad()
def fit_scales(layers: Sequential, x: Tensor, last_deviation: float = DEVIATION) -> Tensor:
    """Initialise the convolutions of ``layers`` so that the signal keeps its scale.

    Biases become zero, because they would mask quiet speech. The output of every convolution in
    ``layers`` gets the standard deviation `DEVIATION`, because inputs of SnakeBeta beyond one
    period give chaotic gradients. Residual blocks get small outputs.

    Args:
        x: input of the first layer, ``[batch, channels, time, ...]``.
        last_deviation: standard deviation of the last convolution's output.

    Returns:
        The output of the last layer.
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
    """Scale the linear layers so that their outputs have unit standard deviation and zero mean.

    With PyTorch's default initialisation each layer halves the variation and keeps the mean. After
    a dozen layers all frames are nearly equal.

    Returns:
        The output of the last layer for ``x [batch, channels, frames]``.
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
    """Multiply a convolution's weight by ``factor``; with weight norm, multiply its gains."""
    if is_parametrized(conv, "weight"):
        cast(Tensor, cast(nn.ModuleDict, conv.parametrizations)["weight"].original0).mul_(factor)
    else:
        cast(Tensor, conv.weight).mul_(factor)


def set_weight(conv: nn.Module, weight: Tensor) -> None:
    """Set a convolution's weight; with weight norm, set its gains and directions."""
    if is_parametrized(conv, "weight"):
        conv.weight = weight
    else:
        cast(Tensor, conv.weight).copy_(weight)
