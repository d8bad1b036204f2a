"""The residual unit of the IRIS encoder in one operation; see `residual_unit.cpp`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _ResidualUnit(torch.autograd.Function):
    """Saves its inputs only; the backward pass recomputes all intermediate values."""

    @staticmethod
    def forward(ctx: Any, dilation: int, groups: int, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        tensors = tuple(tensor.contiguous() for tensor in tensors)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[:-1])
        ctx.dilation, ctx.groups = dilation, groups
        y, after = extension().residual_unit(*tensors, dilation, groups)
        return y, after

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor | None, d_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, past, *parameters = ctx.saved_tensors
        dy = torch.zeros_like(x) if dy is None else dy.contiguous()
        d_after = None if d_after is None else d_after.contiguous()
        gradients = extension().residual_unit_backward(
            dy, d_after, ctx.needs_input_grad[3], x, past, *parameters, ctx.dilation, ctx.groups
        )
        return (None, None, *gradients)


def residual_unit(
    x: Tensor,
    past: Tensor,
    snake_1: tuple[Tensor, Tensor],
    inner: torch.nn.Conv1d,
    snake_2: tuple[Tensor, Tensor],
    outer: torch.nn.Conv1d,
) -> tuple[Tensor, Tensor]:
    """Compute ``x + outer(snake_2(inner([past, snake_1(x)])))`` and the new past.

    It can be differentiated once, also by the past.

    Args:
        x: float32 on the CPU, ``[batch, channels, time]``.
        past: the last inputs of ``inner``, ``[batch, channels, context]``.
        snake_1, snake_2: alpha and 1 / beta of each channel.
        inner: a convolution with bias, kernel size 5 or 7, and any dilation.
        outer: a convolution with bias, kernel size 1, and the groups of ``inner``.

    Returns:
        Output and new past, in the shapes of ``x`` and ``past``.

    Raises:
        ValueError: the convolutions do not have this form.
    """
    kernels = (inner.kernel_size, outer.kernel_size)
    if kernels not in (((5,), (1,)), ((7,), (1,))) or inner.groups != outer.groups:
        raise ValueError("the fused unit has kernel sizes 5 or 7 and 1, and groups in common")
    return _ResidualUnit.apply(  # type: ignore[no-any-return]
        inner.dilation[0],
        inner.groups,
        x,
        past,
        *(value.flatten() for value in snake_1),
        inner.weight,
        inner.bias,
        *(value.flatten() for value in snake_2),
        outer.weight,
        outer.bias,
    )
