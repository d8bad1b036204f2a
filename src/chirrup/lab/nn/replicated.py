"""A causal convolution with replicate padding, as in FocalCodec-Stream (arXiv 2509.16195)."""

from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab.fast.depthwise_conv import depthwise_conv, takes_depthwise_conv
from chirrup.lab.nn.streaming import Span, State, Streaming

LONG = 64
"""Context from which on `ReplicatedConv1d.one_frame` returns a `ShortDepthwise`."""


class ReplicatedConv1d(Streaming):
    """Causal 1-D convolution whose initial past repeats the first sample of the signal.

    Output step t depends on input up to the *first* sample of its stride, plus ``ahead``
    samples (`Conv1d`: up to the last sample). With ``ahead`` 0, the last ``stride - 1`` samples of
    a call affect the next call only.

    The state is the last ``kernel_size - 1 - ahead`` inputs, and ``started``, which is 0 before the
    first call and 1 afterwards.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        ahead: int = 0,
    ) -> None:
        super().__init__()
        if kernel_size < 2:
            raise ValueError("a kernel of one sample has no past to replicate")
        if not 0 <= ahead < min(stride, kernel_size):
            raise ValueError(f"ahead must be from 0 to {min(stride, kernel_size) - 1}, got {ahead}")
        self.context, self.ahead = kernel_size - 1 - ahead, ahead
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias
        )
        self.fast = False

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.conv.stride[0])

    def span(self, span: Span) -> Span:
        stride = self.conv.stride[0]
        return span[0] * stride - self.context, span[1] * stride + self.ahead

    def one_frame(self) -> Streaming:
        conv = self.conv
        depthwise = conv.groups == conv.in_channels == conv.out_channels
        return ShortDepthwise(self) if depthwise and self.context >= LONG else self

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.context == 0:
            return {}
        return {
            "past": torch.zeros(batch, self.conv.in_channels, self.context, device=device),
            "started": torch.zeros(batch, 1, 1, device=device),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        line, after = self.line(x, state)
        if self.fast and takes_depthwise_conv(self.conv, line):
            return depthwise_conv(line, self.conv), after
        return self.conv(line), after

    def line(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return past and ``x`` concatenated, and the new state."""
        if self.context == 0:
            return x, {}
        past = torch.where(state["started"] > 0, state["past"], x[:, :, :1])
        line = torch.cat([past, x], dim=2)
        after = {
            "past": line[:, :, line.shape[2] - self.context :].clone(),
            "started": torch.ones_like(state["started"]),
        }
        return line, after


class ShortDepthwise(Streaming):
    """A long depthwise `ReplicatedConv1d` for few steps, as a product and a sum per step.

    For a chunk of FocalCodec-Stream it takes a third of the time of a runtime's convolution.
    """

    def __init__(self, layer: ReplicatedConv1d) -> None:
        super().__init__()
        self.layer = layer

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return self.layer.initial_state(batch, device)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        line, after = self.layer.line(x, state)
        conv, size = self.layer.conv, self.layer.conv.kernel_size[0]
        kernel = conv.weight[:, 0]
        steps = [
            (line[:, :, at : at + size] * kernel).sum(2, keepdim=True) for at in range(x.shape[2])
        ]
        return torch.cat(steps, dim=2) + cast(Tensor, conv.bias)[:, None], after
