"""A transformer layer with fixed weights as one operation; see `frozen_layer.cpp`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class _FrozenLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, heads: int, eps: float, *weights: Tensor) -> Tensor:
        ctx.heads, x = heads, x.contiguous()
        wants_gradient = ctx.needs_input_grad[0]
        y, *saved = extension().frozen_layer(x, weights, heads, eps, wants_gradient)
        if wants_gradient:
            ctx.saved = len(saved)
            ctx.save_for_backward(x, *saved, *weights)
        return y  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, *others = ctx.saved_tensors
        saved, weights = others[: ctx.saved], others[ctx.saved :]
        dx = extension().frozen_layer_backward(dy.contiguous(), x, saved, weights, ctx.heads)
        return (dx, None, None, *(None for _ in weights))


def frozen_layer(x: Tensor, weights: Sequence[Tensor], heads: int, eps: float) -> Tensor:
    """Add attention to ``x`` and then a feed-forward part, each behind a layer normalisation.

    The weights have no gradient. The output can be differentiated once, with respect to ``x``.

    Args:
        x: ``[batch, frames, channels]``, float32 on the CPU.
        weights: gain and bias of the first norm; weight and bias of the projections to queries,
            keys and values together, ``[3 * channels, channels]``, and from the attention's output;
            gain and bias of the second norm; weight and bias of the two layers of the feed-forward
            part. Gains and biases of norms are float32. The other weights are float32, or all
            of them are bfloat16; the products are computed in their type.
        heads: of the attention.
        eps: of both norms.

    Returns:
        A tensor of the shape of ``x``, float32.
    """
    return _FrozenLayer.apply(x, heads, eps, *weights)  # type: ignore[no-any-return]
