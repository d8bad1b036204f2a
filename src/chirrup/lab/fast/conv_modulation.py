"""Convolutional modulation and feed-forward part in one operation; see `conv_modulation.cpp`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _ConvModulation(torch.autograd.Function):
    """The operation on rows ``[batch, time, channels]``."""

    @staticmethod
    def forward(
        ctx: Any, groups: int, eps: float, bf16: bool, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, past, *parameters = (tensor.contiguous() for tensor in tensors)
        y, after, *between = extension().conv_modulation(x, past, parameters, groups, eps, bf16)
        ctx.set_materialize_grads(False)
        ctx.groups, ctx.eps, ctx.count = groups, eps, len(parameters)
        ctx.save_for_backward(x, past, *between, *parameters)
        return y, after

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor | None, d_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        saved, parameters = ctx.saved_tensors[: -ctx.count], ctx.saved_tensors[-ctx.count :]
        dy = torch.zeros_like(saved[0]) if dy is None else dy.contiguous()
        d_after = None if d_after is None else d_after.contiguous()
        gradients = extension().conv_modulation_backward(
            dy, d_after, ctx.needs_input_grad[4], saved, parameters, ctx.groups, ctx.eps
        )
        return (None, None, None, *gradients)


def conv_modulation(
    x: Tensor,
    past: Tensor,
    norm_1: tuple[Tensor, Tensor],
    depthwise: nn.Conv1d,
    project: nn.Conv1d,
    scale_1: Tensor,
    norm_2: tuple[Tensor, Tensor],
    expand: nn.Conv1d,
    contract: nn.Conv1d,
    scale_2: Tensor,
    eps: float,
    bf16: bool,
) -> tuple[Tensor, Tensor]:
    """Compute a Conv2Former block. It can be differentiated once, also by ``past``.

    ``y = norm_1(x)``, ``x = x + scale_1 * project(depthwise([past, gelu(y)]) * y)``, then
    ``x + scale_2 * contract(gelu(expand(norm_2(x))))``. The output has the memory layout
    ``[batch, time, channels]``. An input with this layout is not copied.

    Args:
        x: float32 on the CPU, ``[batch, channels, time]``.
        past: the last inputs of ``depthwise``, ``[batch, channels, context]``.
        norm_1, norm_2: gain and bias ``[channels]`` of layer normalisations.
        depthwise: a depthwise convolution of any kernel size.
        project: a convolution of kernel size 1.
        scale_1, scale_2: layer scales, ``[channels, 1]``.
        expand, contract: convolutions of kernel size 1 with equal numbers of groups.
        eps: epsilon of both normalisations.
        bf16: whether to round the factors of matrix products to bfloat16.

    Returns:
        The output and the new past, in the shapes of ``x`` and ``past``.

    Raises:
        ValueError: the convolutions do not have this form.
    """
    ones = all(conv.kernel_size == (1,) for conv in (project, expand, contract))
    apart = depthwise.groups == depthwise.in_channels and depthwise.dilation == (1,)
    if not (ones and apart and project.groups == 1 and expand.groups == contract.groups):
        raise ValueError(
            "the fast form takes a depthwise convolution without dilation, a dense one of kernel "
            "size 1, and two of kernel size 1 with groups in common"
        )
    parameters = (
        *(*norm_1, depthwise.weight, depthwise.bias, project.weight, project.bias, scale_1),
        *(*norm_2, expand.weight, expand.bias, contract.weight, contract.bias, scale_2),
    )
    rows, before = x.transpose(1, 2), past.transpose(1, 2)
    y, after = _ConvModulation.apply(expand.groups, eps, bf16, rows, before, *parameters)
    return y.transpose(1, 2), after.transpose(1, 2)
