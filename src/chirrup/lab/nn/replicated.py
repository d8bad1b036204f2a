"""A causal convolution before whose first sample the signal has always been what it is there."""

from fractions import Fraction

import torch
from torch import Tensor, nn

from chirrup.lab.nn.streaming import State, Streaming


class ReplicatedConv1d(Streaming):
    """Causal 1-D convolution whose past, at the first call, is the first sample again and again.

    Output step t sees input up to the *first* sample of its own stride (`Conv1d`: up to the last),
    so the last ``stride - 1`` samples of a call count in the next one only; or up to ``ahead``
    samples after it, at most to the last.

    The state is the last ``kernel_size - 1 - ahead`` inputs, and ``started``: 0 before the first
    call, from then on 1.
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
            raise ValueError("what a step sees ends in its own stride")
        self.context, self.ahead = kernel_size - 1 - ahead, ahead
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias
        )

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.conv.stride[0])

    def seen(self, first: int, last: int) -> tuple[int, int]:
        """First and last input step that the output steps from ``first`` to ``last`` depend on."""
        stride = self.conv.stride[0]
        return first * stride - self.context, last * stride + self.ahead

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.context == 0:
            return {}
        return {
            "past": torch.zeros(batch, self.conv.in_channels, self.context, device=device),
            "started": torch.zeros(batch, 1, 1, device=device),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        line, after = self.line(x, state)
        return self.conv(line), after

    def line(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The past and ``x`` in a row, and the state after them."""
        if self.context == 0:
            return x, {}
        past = torch.where(state["started"] > 0, state["past"], x[:, :, :1])
        line = torch.cat([past, x], dim=2)
        after = {
            "past": line[:, :, line.shape[2] - self.context :].clone(),
            "started": torch.ones_like(state["started"]),
        }
        return line, after
