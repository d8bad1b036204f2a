"""Convolutions of one time step as matrix products, without a time axis.

For one frame, a runtime's time depends on the number of operators, and convolutions of one step are
slow.
"""

from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab.nn.conv import Conv1d


class OneStepConv(nn.Module):
    """A convolution with one output step, as one matrix product.

    It maps ``[1, channels]`` and the past ``[1, channels, context]`` to ``[1, out_channels]`` and
    the new past.
    """

    def __init__(self, layer: Conv1d) -> None:
        super().__init__()
        weight, bias = layer.conv.weight, cast(Tensor, layer.conv.bias)
        groups, self.context = layer.conv.groups, layer.context
        inputs = weight[0].numel()
        grouped = weight.reshape(groups, -1, inputs).transpose(1, 2).contiguous()
        self.register_buffer("weight", grouped[0].contiguous() if groups == 1 else grouped)
        self.register_buffer("bias", bias if groups == 1 else bias.reshape(groups, 1, -1))
        self.groups = groups

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        after = x
        if self.context and past is not None:
            line = torch.cat([past, x[:, :, None]], dim=2)
            x, after = line.flatten(1), line[:, :, 1:]
        if self.groups > 1:
            x = x.reshape(self.groups, 1, -1)
            x = torch.baddbmm(self.get_buffer("bias"), x, self.get_buffer("weight"))
            return x.reshape(1, -1), after
        return torch.addmm(self.get_buffer("bias"), x, self.get_buffer("weight")), after


class OneStepDepthwise(nn.Module):
    """A depthwise convolution with one output step, as a weighted sum over past and input."""

    def __init__(self, layer: Conv1d) -> None:
        super().__init__()
        self.register_buffer("weight", layer.conv.weight[:, 0][None].clone())
        self.register_buffer("bias", cast(Tensor, layer.conv.bias)[None].clone())

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        line = torch.cat([past, x[:, :, None]], dim=2)
        return (line * self.get_buffer("weight")).sum(2) + self.get_buffer("bias"), line[:, :, 1:]
