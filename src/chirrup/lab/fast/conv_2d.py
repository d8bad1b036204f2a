"""2-D convolutions over spectrograms, fused with a preceding ELU; see `conv_2d.cpp`.

Rows are ``[batch, time, bins, channels]``, float32 or bfloat16. Weights, biases and their gradients
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
    """Return the type in which the fast form computes this convolution, or None if it cannot.

    It is bfloat16 under autocast, and else the type of ``x``.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
        return None
    if conv.groups != 1 or conv.dilation != (1, 1):
        return None
    if x.dtype is torch.float32 and not torch.is_autocast_enabled("cpu"):
        return torch.float32
    # The bfloat16 product instruction multiplies pairs of channels.
    even = conv.in_channels % 2 == conv.out_channels % 2 == 0
    return torch.bfloat16 if even else None


def rows_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``[batch, channels, time, bins]`` as rows, a copy only if the layout differs."""
    return _lying(x.to(dtype).permute(0, 2, 3, 1))


def _lying(rows: Tensor) -> Tensor:
    """Return rows that are contiguous except along the batch."""
    _, _, bins, channels = rows.shape
    in_order = rows.stride()[1:] == (bins * channels, channels, 1)
    return rows if in_order else rows.contiguous()


def _gradient(dy: Tensor | None, shape: torch.Size, like: Tensor) -> Tensor:
    """Return the gradient of rows in the type of ``like``; None becomes zeros."""
    return like.new_zeros(shape) if dy is None else _lying(dy.to(like.dtype))


def _gradients(
    backward: Callable[..., Sequence[Tensor]], ctx: Any, dy: Tensor | None, d_after: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the seven arguments of a forward pass; four are tensors."""
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
    """Convolve ``x`` or ``elu(x)``, causally in time. It can be differentiated once.

    Args:
        x: rows, float32 or bfloat16; the output has its type.
        past: the last steps of the convolution's input, ``[batch, steps, bins, channels]``.
        weight: ``[outputs, channels, kernel along time, along frequency]``.
        bias: ``[outputs]``.
        stride: strides along time and frequency.
        ends: numbers of zeros before the first and after the last bin.
        elu: whether to apply an ELU to ``x``.

    Returns:
        Rows, and the new past.
    """
    return _Conv2d.apply(x, past, weight, bias, stride, ends, elu)  # type: ignore[no-any-return]


def conv_transposed_2d(
    x: Tensor, overlap: Tensor, weight: Tensor, bias: Tensor, stride: Pair, low: int, elu: bool
) -> tuple[Tensor, Tensor]:
    """Apply a transposed convolution to ``x`` or ``elu(x)``. It can be differentiated once.

    Args:
        x: rows, float32 or bfloat16; the output has its type.
        overlap: contributions of earlier inputs, ``[batch, steps, bins, outputs]``.
        weight: ``[channels, outputs, kernel along time, along frequency]``.
        bias: ``[phases, outputs]``: one phase, or one phase per position within a stride.
        stride: strides along time and frequency.
        low: number of lowest bins of the full result that are cut off.
        elu: whether to apply an ELU to ``x``.

    Returns:
        Rows, and the new overlap.
    """
    return _ConvTranspose2d.apply(  # type: ignore[no-any-return]
        x, overlap, weight, bias, stride, low, elu
    )
