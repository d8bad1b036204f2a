"""Convolutions over spectrograms as one operation with the ELU before them; see `conv_2d.cpp`.

Rows are ``[batch, time, bins, channels]``, float32 or bfloat16; weights, biases and their gradients
are float32.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension

Pair = tuple[int, int]


def number_type(x: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d) -> torch.dtype | None:
    """The type in which the fast form computes this convolution, or None if it cannot.

    The type is bfloat16 under autocast, and else that of ``x``.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
        return None
    if conv.groups != 1 or conv.dilation != (1, 1):
        return None
    if x.dtype is torch.float32 and not torch.is_autocast_enabled("cpu"):
        return torch.float32
    # A product takes in two channels.
    even = conv.in_channels % 2 == conv.out_channels % 2 == 0
    return torch.bfloat16 if even else None


def rows_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``[batch, channels, time, bins]`` as rows, copied only if they do not lie so."""
    return _lying(x.to(dtype).permute(0, 2, 3, 1))


def _lying(rows: Tensor) -> Tensor:
    """Rows whose steps, bins and channels lie in order; batches may lie apart."""
    _, _, bins, channels = rows.shape
    in_order = rows.stride()[1:] == (bins * channels, channels, 1)
    return rows if in_order else rows.contiguous()


def _gradient(dy: Tensor | None, shape: torch.Size, like: Tensor) -> Tensor:
    """The gradient of rows of a shape, of the type of ``like``."""
    return like.new_zeros(shape) if dy is None else _lying(dy.to(like.dtype))


def _gradients(
    backward: Callable[..., Sequence[Tensor]], ctx: Any, dy: Tensor | None, d_after: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Gradients of a forward pass's seven arguments, of which the first four are tensors."""
    inner, weight = ctx.saved_tensors
    dy = _gradient(dy, ctx.shape, inner)
    tensors = backward(dy, d_after, ctx.needs_input_grad[0], inner, weight, *ctx.about)
    return (*tensors, None, None, None)


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        past: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: Pair,
        ends: Pair,
        elu: bool,
    ) -> tuple[Tensor, Tensor]:
        weight = weight.detach()
        y, inner = extension().conv_2d(x, past, weight, bias, *stride, *ends, elu)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inner, weight)
        ctx.about, ctx.shape = (*stride, past.shape[1], *ends, elu), y.shape
        low, steps = ends[0], past.shape[1]
        after = inner[:, inner.shape[1] - steps :, low : low + x.shape[2]].clone()
        return y, after

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor | None, d_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return _gradients(extension().conv_2d_backward, ctx, dy, d_after)


class _ConvTranspose2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        overlap: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: Pair,
        low: int,
        elu: bool,
    ) -> tuple[Tensor, Tensor]:
        weight = weight.detach()
        whole, inner = extension().conv_transposed_2d(x, overlap, weight, bias, *stride, low, elu)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inner, weight)
        cut = whole.shape[1] - overlap.shape[1]
        y = whole[:, :cut]
        ctx.about, ctx.shape = (*stride, low, len(bias), elu), y.shape
        return y, whole[:, cut:].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor | None, d_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return _gradients(extension().conv_transposed_2d_backward, ctx, dy, d_after)


def conv_2d(
    x: Tensor, past: Tensor, weight: Tensor, bias: Tensor, stride: Pair, ends: Pair, elu: bool
) -> tuple[Tensor, Tensor]:
    """Convolution causal in time, of ``elu(x)`` where wanted. It can be differentiated once.

    Args:
        x: rows, float32 or bfloat16; the output has the same type.
        past: the last steps of the convolution's input, ``[batch, steps, bins, channels]``.
        weight: ``[outputs, channels, kernel along time, along frequency]``.
        bias: ``[outputs]``.
        ends: zeros before the first bin and after the last one.

    Returns:
        Rows, and the new past.
    """
    return _Conv2d.apply(x, past, weight, bias, stride, ends, elu)  # type: ignore[no-any-return]


def conv_transposed_2d(
    x: Tensor, overlap: Tensor, weight: Tensor, bias: Tensor, stride: Pair, low: int, elu: bool
) -> tuple[Tensor, Tensor]:
    """Transposed convolution of ``x``, of ``elu(x)`` where wanted. It can be differentiated once.

    Args:
        x: rows, float32 or bfloat16; the output has the same type.
        overlap: what earlier inputs add to the first steps, ``[batch, steps, bins, outputs]``.
        weight: ``[channels, outputs, kernel along time, along frequency]``.
        bias: ``[phases, outputs]``, one for all places or one for each place within a stride.
        low: bins of the whole result before the first one that is kept.

    Returns:
        Rows, and the new overlap.
    """
    return _ConvTranspose2d.apply(  # type: ignore[no-any-return]
        x, overlap, weight, bias, stride, low, elu
    )
