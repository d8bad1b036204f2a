"""Attention weights with a gated bias; see `gated_softmax.cpp`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _GatedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, bias: Tensor, gates: Tensor, mask: Tensor) -> Tensor:
        y: Tensor = extension().gated_softmax(scores, bias, gates, mask)
        ctx.save_for_backward(y, bias, gates)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        y, bias, gates = ctx.saved_tensors
        dy = dy.to(y.dtype).contiguous()
        return (*extension().gated_softmax_backward(dy, y, bias, gates), None)


def gated_softmax(scores: Tensor, bias: Tensor, gates: Tensor, mask: Tensor) -> Tensor:
    """Compute ``softmax(scores + gates * bias + mask)`` over the keys.

    It can be differentiated once.

    Args:
        scores: ``[batch, heads, queries, keys]``, float32 or bfloat16; the result has its type.
        bias: ``[heads, queries, keys]``.
        gates: ``[batch, heads, queries, 1]``.
        mask: 0 or minus infinity, ``[batch, 1, queries, keys]``; it has no gradient.
    """
    parts = (scores, bias.float(), gates.float()[..., 0], mask.float()[:, 0])
    return _GatedSoftmax.apply(*(part.contiguous() for part in parts))  # type: ignore[no-any-return]
