"""Depthwise convolution; see `depthwise_conv.cpp`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, line: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        line, weight = line.contiguous(), weight.contiguous()
        ctx.save_for_backward(line, weight)
        y: Tensor = extension().depthwise_conv(line, weight, bias)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(extension().depthwise_conv_backward(dy.contiguous(), *ctx.saved_tensors))


def takes_depthwise_conv(conv: nn.Conv1d, line: Tensor) -> bool:
    """Return whether `depthwise_conv` supports this convolution of this tensor."""
    numbers = line.dtype in (torch.float32, torch.bfloat16) and line.device.type == "cpu"
    apart = conv.groups == conv.in_channels == conv.out_channels
    one_by_one = conv.stride == conv.dilation == (1,)
    return numbers and apart and one_by_one and conv.padding == (0,) and conv.bias is not None


def depthwise_conv(line: Tensor, conv: nn.Conv1d) -> Tensor:
    """Compute a depthwise convolution in float32. It can be differentiated once.

    Args:
        line: ``[batch, channels, kernel - 1 + time]``, float32 or bfloat16.
        conv: a convolution for which `takes_depthwise_conv` is true.

    Returns:
        ``[batch, channels, time]`` with the memory layout ``[batch, time, channels]``; bfloat16
        under autocast, else in the type of ``line``.
    """
    rows = line.transpose(1, 2)
    y: Tensor = _DepthwiseConv.apply(rows.float(), conv.weight, conv.bias)
    dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else line.dtype
    return y.to(dtype).transpose(1, 2)
