"""Causal and transposed convolutions, fused with a preceding ELU.

Layers with few weights use a direct convolution (`causal_conv.cpp`). For layers with many weights a
bfloat16 matrix product of windows is faster (`window_conv.cpp`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension

TAPS = (1, 2, 3, 5, 7, 21)
"""Kernel sizes, divided by the stride, that `causal_conv.cpp` supports."""
FEW_WEIGHTS = 16384
"""Number of weights up to which the direct form is faster than products of windows."""


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: tuple[int, int, bool, bool], *tensors: Tensor) -> Tensor:
        x, past, weight, bias = (tensor.contiguous() for tensor in tensors)
        ctx.how = how
        ctx.save_for_backward(x, past, weight)
        y: Tensor = extension().causal_conv(x, past, weight, bias, *how)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        wants_x = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        gradients = extension().causal_conv_backward(
            dy.contiguous(), *ctx.saved_tensors, *ctx.how, wants_x
        )
        return (None, *gradients)


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stride: int, elu: bool, exact: bool, *tensors: Tensor) -> Tensor:
        x, past, weight, bias = (tensor.contiguous() for tensor in tensors)
        y, signal, rows = extension().window_conv(x, past, weight, bias, stride, elu, exact)
        ctx.how = stride, elu
        ctx.save_for_backward(signal, rows, weight)
        return y.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        wants_x = ctx.needs_input_grad[3] or ctx.needs_input_grad[4]
        gradients = extension().window_conv_backward(
            dy.transpose(1, 2).contiguous(), *ctx.saved_tensors, *ctx.how, wants_x
        )
        return (None, None, None, *gradients)


class _Transposed(torch.autograd.Function):
    """The direct form if ``how`` includes ``bf16``, else the form of windows."""

    @staticmethod
    def forward(
        ctx: Any, how: tuple[int, bool] | tuple[int, bool, bool], *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, overlap, weight, bias = (tensor.contiguous() for tensor in tensors)
        ctx.how, ctx.overlap = how, overlap.shape[2]
        if len(how) == 3:
            y, after = extension().transposed_conv(x, weight, bias, *how)
            ctx.save_for_backward(x, weight)
        else:
            y, after, signal, rows = extension().window_transposed(x, weight, bias, *how)
            ctx.save_for_backward(signal, rows, weight)
        inside = min(ctx.overlap, y.shape[2])
        y[:, :, :inside] += overlap[:, :, :inside]
        after[:, :, : ctx.overlap - inside] += overlap[:, :, inside:]
        return y, after

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor, d_after: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy, d_after = dy.contiguous(), d_after.contiguous()
        back = extension().transposed_conv_backward
        if len(ctx.how) == 2:
            back = extension().window_transposed_backward
        dx, d_weight, d_bias = back(dy, d_after, *ctx.saved_tensors, *ctx.how)
        inside = min(ctx.overlap, dy.shape[2])
        d_overlap = torch.cat([dy[:, :, :inside], d_after[:, :, : ctx.overlap - inside]], dim=2)
        return None, dx, d_overlap, d_weight, d_bias


def _is_direct(conv: nn.Conv1d | nn.ConvTranspose1d) -> bool:
    """Return whether `causal_conv.cpp` supports this convolution and is the faster form."""
    (kernel,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
    weights = conv.in_channels * conv.out_channels * kernel
    fits = kernel % stride == 0 and kernel // stride in TAPS and 1 in (stride, dilation)
    return fits and weights <= FEW_WEIGHTS


def takes_conv(conv: nn.Conv1d | nn.ConvTranspose1d, bf16: bool) -> bool:
    """Return whether the fast form of a convolution, or a transposed one, is faster.

    Args:
        bf16: whether products run in bfloat16.
    """
    if conv.groups != 1 or (conv.bias is None and isinstance(conv, nn.Conv1d)):
        return False
    weights = conv.in_channels * conv.out_channels * conv.kernel_size[0]
    as_windows = bf16 and conv.dilation == (1,) and weights > FEW_WEIGHTS
    return _is_direct(conv) or as_windows


def causal_conv(
    x: Tensor, past: Tensor, conv: nn.Conv1d, elu: bool, bf16: bool, exact: bool
) -> Tensor:
    """Compute ``conv(torch.cat([past, x], dim=2))``. It can be differentiated once.

    The output may have the memory layout ``[batch, time, outputs]``.

    Args:
        x: float32 on the CPU, ``[batch, channels, time]``; ``time`` is a multiple of the stride.
        past: the inputs before, ``[batch, channels, (kernel_size - 1) * dilation + 1 - stride]``.
        conv: a convolution for which `takes_conv` is true.
        elu: whether to compute ``conv(torch.cat([past, elu(x)], dim=2))``.
        bf16: whether to round the factors of products to bfloat16.
        exact: whether to round them in the backward pass only.
    """
    (stride,), (dilation,) = conv.stride, conv.dilation
    tensors = x, past, conv.weight, conv.bias
    if _is_direct(conv):
        y = _Direct.apply((stride, dilation, elu, bf16 and not exact), *tensors)
    else:
        y = _Windows.apply(stride, elu, exact, *tensors)
    return y  # type: ignore[no-any-return]


def transposed_conv(
    x: Tensor, overlap: Tensor, conv: nn.ConvTranspose1d, bias: Tensor, elu: bool, bf16: bool
) -> tuple[Tensor, Tensor]:
    """Compute ``conv(x) + overlap + bias``. It can be differentiated once.

    Args:
        x: float32 on the CPU, ``[batch, channels, time]``.
        overlap: contributions of earlier inputs, ``[batch, outputs, kernel_size - stride]``.
        conv: a convolution for which `takes_conv` is true; its bias is ignored.
        bias: ``[outputs]``.
        elu: whether to compute ``conv(elu(x))``.
        bf16: whether to round the factors of products to bfloat16.

    Returns:
        The output, ``[batch, outputs, time * stride]``, and the new overlap without the bias.
    """
    how = (conv.stride[0], elu, bf16) if _is_direct(conv) else (conv.stride[0], elu)
    y, after = _Transposed.apply(how, x, overlap, conv.weight, bias)
    return y, after
