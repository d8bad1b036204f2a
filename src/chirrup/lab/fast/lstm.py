"""An LSTM layer in one operation; see `lstm.cpp`."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension
from chirrup.lab.fast.products import product


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        bf16: bool,
        x: Tensor,
        hidden: Tensor,
        cell: Tensor,
        input_weight: Tensor,
        weight: Tensor,
        input_bias: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = x.flatten(0, 1)
        of_inputs = product(rows, input_weight.t(), bf16).view(*x.shape[:2], -1)
        states, cells, gates = extension().lstm(of_inputs, hidden, cell, weight, input_bias + bias)
        ctx.bf16 = bf16
        ctx.save_for_backward(rows, states, cells, gates, input_weight, weight)
        return states[:, 1:], states[:, -1].clone(), cells[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor, d_last: Tensor, d_last_cell: Tensor
    ) -> tuple[Tensor | None, ...]:
        rows, states, cells, gates, input_weight, weight = ctx.saved_tensors
        gradients = (tensor.contiguous() for tensor in (dy, d_last, d_last_cell))
        d_units, d_hidden, d_cell = extension().lstm_backward(*gradients, cells, gates, weight)
        d_units = d_units.flatten(0, 1)
        before, d_bias = states[:, :-1].flatten(0, 1), d_units.sum(0)
        return (
            None,
            product(d_units, input_weight, ctx.bf16).view(*dy.shape[:2], -1),
            d_hidden,
            d_cell,
            product(d_units.t(), rows, ctx.bf16),
            product(d_units.t(), before, ctx.bf16),
            d_bias,
            d_bias,
        )


def lstm(x: Tensor, before: tuple[Tensor, Tensor], layers: nn.LSTM, bf16: bool) -> list[Tensor]:
    """Run an LSTM. It can be differentiated once, also by the states.

    Args:
        x: float32 on the CPU, ``[batch, time, channels]``.
        before: initial hidden states and cells, each ``[batch, layers, hidden]``.
        bf16: whether to multiply in bfloat16, except in the recurrence.

    Returns:
        The states of the last layer, ``[batch, time, hidden]``, and the final hidden states and
        cells of all layers, each ``[batch, layers, hidden]``.
    """
    hiddens, cells = [], []
    for layer in range(layers.num_layers):
        names = (f"{kind}_{part}_l{layer}" for kind in ("weight", "bias") for part in ("ih", "hh"))
        parameters = [getattr(layers, name) for name in names]
        first = (tensor[:, layer] for tensor in before)
        x, hidden, cell = _LSTM.apply(bf16, x, *first, *parameters)
        hiddens.append(hidden)
        cells.append(cell)
    return [x, torch.stack(hiddens, dim=1), torch.stack(cells, dim=1)]
