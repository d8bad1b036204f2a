"""GELU whose backward is one multiplication; see `gelu.cpp`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y, *slope = extension().gelu(x, ctx.needs_input_grad[0])
        ctx.save_for_backward(*slope)
        return y  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> Tensor:
        (slope,) = ctx.saved_tensors
        return extension().gelu_backward(dy, slope)  # type: ignore[no-any-return]


def gelu(x: Tensor) -> Tensor:
    """Compute ``F.gelu(x)`` for float32 or bfloat16 on the CPU. It can be differentiated once.

    The slope is kept in the type of ``x``.
    """
    return _GELU.apply(x)  # type: ignore[no-any-return]
