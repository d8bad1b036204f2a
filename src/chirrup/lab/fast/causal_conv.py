"""Causal convolutions and their transposes, with an ELU before them, as one operation each.

Layers of few weights are convolved where their inputs lie (`causal_conv.cpp`). For layers of many
weights a matrix product in bfloat16 takes less time (`window_conv.cpp`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension

TAPS = (1, 2, 3, 7)
"""Kernel sizes, divided by the stride, that `causal_conv.cpp` has."""
FEW_WEIGHTS = 16384
"""Weights up to which the direct form takes less time than products of windows."""


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: tuple[int, bool, bool], *tensors: Tensor) -> Tensor:
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


class _DirectTransposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: tuple[int, bool, bool], x: Tensor, weight: Tensor) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        ctx.how = how
        ctx.save_for_backward(x, weight)
        y: Tensor = extension().transposed_conv(x, weight, *how)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        gradients = extension().transposed_conv_backward(
            dy.contiguous(), *ctx.saved_tensors, *ctx.how
        )
        return (None, *gradients)


class _WindowsTransposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stride: int, elu: bool, x: Tensor, weight: Tensor) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        y, signal, rows = extension().window_transposed(x, weight, stride, elu)
        ctx.how = stride, elu
        ctx.save_for_backward(signal, rows, weight)
        return y  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        gradients = extension().window_transposed_backward(
            dy.contiguous(), *ctx.saved_tensors, *ctx.how
        )
        return (None, None, *gradients)


def _is_direct(conv: nn.Conv1d | nn.ConvTranspose1d) -> bool:
    """Whether `causal_conv.cpp` computes this convolution, and fast."""
    (kernel,), (stride,) = conv.kernel_size, conv.stride
    weights = conv.in_channels * conv.out_channels * kernel
    return kernel % stride == 0 and kernel // stride in TAPS and weights <= FEW_WEIGHTS


def takes_conv(conv: nn.Conv1d | nn.ConvTranspose1d, bf16: bool) -> bool:
    """Whether a convolution, or a transposed one, takes less time in its fast form.

    Args:
        bf16: whether products run in bfloat16.
    """
    dense = conv.groups == 1 and conv.dilation == (1,)
    has_bias = conv.bias is not None or isinstance(conv, nn.ConvTranspose1d)
    weights = conv.in_channels * conv.out_channels * conv.kernel_size[0]
    return dense and has_bias and (_is_direct(conv) or (bf16 and weights > FEW_WEIGHTS))


def causal_conv(
    x: Tensor, past: Tensor, conv: nn.Conv1d, elu: bool, bf16: bool, exact: bool
) -> Tensor:
    """``conv(torch.cat([past, x], dim=2))``, float32 on the CPU. It can be differentiated once.

    The output may have the memory layout ``[batch, time, outputs]``.

    Args:
        x: ``[batch, channels, time]``, whole strides.
        past: the inputs before, ``[batch, channels, kernel_size - stride]``.
        conv: a convolution that `takes_conv`.
        elu: compute ``conv(torch.cat([past, elu(x)], dim=2))``.
        bf16: round the factors of products to bfloat16.
        exact: round them for the gradients only.
    """
    (stride,) = conv.stride
    tensors = x, past, conv.weight, conv.bias
    if _is_direct(conv):
        y = _Direct.apply((stride, elu, bf16 and not exact), *tensors)
    else:
        y = _Windows.apply(stride, elu, exact, *tensors)
    return y  # type: ignore[no-any-return]


def transposed_conv(x: Tensor, conv: nn.ConvTranspose1d, elu: bool, bf16: bool) -> Tensor:
    """``conv(x)`` without its bias, float32 on the CPU. It can be differentiated once.

    Args:
        x: ``[batch, channels, time]``.
        conv: a convolution that `takes_conv`.
        elu: compute ``conv(elu(x))``.
        bf16: round the factors of products to bfloat16.
    """
    (stride,) = conv.stride
    if _is_direct(conv):
        y = _DirectTransposed.apply((stride, elu, bf16), x, conv.weight)
    else:
        y = _WindowsTransposed.apply(stride, elu, x, conv.weight)
    return y  # type: ignore[no-any-return]
