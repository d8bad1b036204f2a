"""Snake in one operation; see `snake.cpp`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, height: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, alpha, height)
        y: Tensor = extension().snake(x, alpha, height)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(extension().snake_backward(dy.contiguous(), *ctx.saved_tensors))


def snake(x: Tensor, alpha: Tensor, height: Tensor) -> Tensor:
    """Compute ``x + height * sin(alpha * x)²``. It can be differentiated once.

    Args:
        x: float32 on the CPU, ``[batch, channels, time]``.
        alpha, height: ``[channels, 1]``.

    Returns:
        A tensor of the shape of ``x``.
    """
    return _Snake.apply(x, alpha.flatten(), height.flatten())  # type: ignore[no-any-return]
