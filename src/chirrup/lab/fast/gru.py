"""A GRU layer in one operation; see `gru.cpp`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension
from chirrup.lab.fast.products import product


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        bf16: bool,
        x: Tensor,
        hidden: Tensor,
        input_weight: Tensor,
        weight: Tensor,
        input_bias: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        batch, time, _ = x.shape
        rows = x.flatten(0, 1)
        of_inputs = product(rows, input_weight.t(), bf16).view(batch, time, -1)
        states, gates = extension().gru(of_inputs, hidden, weight, input_bias, bias)
        ctx.bf16 = bf16
        ctx.save_for_backward(rows, states, gates, input_weight, weight)
        return states[:, 1:], states[:, -1]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor, d_last: Tensor
    ) -> tuple[Tensor | None, ...]:
        rows, states, gates, input_weight, weight = ctx.saved_tensors
        d_inputs, d_hidden, d_first = extension().gru_backward(
            dy.contiguous(), d_last.contiguous(), states, gates, weight
        )
        d_inputs, d_hidden = d_inputs.flatten(0, 1), d_hidden.flatten(0, 1)
        before = states[:, :-1].flatten(0, 1)
        return (
            None,
            product(d_inputs, input_weight, ctx.bf16).view(*dy.shape[:2], -1),
            d_first,
            product(d_inputs.t(), rows, ctx.bf16),
            product(d_hidden.t(), before, ctx.bf16),
            d_inputs.sum(0),
            d_hidden.sum(0),
        )


def gru(x: Tensor, hidden: Tensor, layer: nn.GRU, bf16: bool) -> tuple[Tensor, Tensor]:
    """Run a GRU of one layer. It can be differentiated once, also by the state.

    Args:
        x: float32 on the CPU, ``[batch, time, channels]``.
        hidden: the initial state, ``[batch, hidden]``.
        bf16: whether to multiply in bfloat16, except in the recurrence.

    Returns:
        All states, ``[batch, time, hidden]``, and the last state, ``[batch, hidden]``.
    """
    parameters = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
    return _GRU.apply(bf16, x, hidden, *parameters)  # type: ignore[no-any-return]
