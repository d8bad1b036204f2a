"""Layer normalisation and layer scale."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import State, Streaming


class LayerNorm(Streaming):
    """Layer normalisation over the channels of each time step, with trained gain and bias."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def emit(self, part: Part, x: Value) -> Value:
        return part.norm(x, self.gain.detach().numpy(), self.bias.detach().numpy(), self.eps)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = F.layer_norm(x.transpose(1, 2), self.gain.shape, self.gain, self.bias, self.eps)
        return y.transpose(1, 2), state


class Scale(Streaming):
    """Layer scale: a trained gain per channel.

    Args:
        first: initial gain. A small value makes a residual block start near the identity.
    """

    def __init__(self, channels: int, first: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels, 1), first))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x * self.gain, state
