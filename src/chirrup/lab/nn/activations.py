"""Activation functions: ELU, Snake, SnakeBeta and dynamic tanh."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.gelu import gelu
from chirrup.lab.fast.snake import snake
from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import State, Stateless, Streaming


def elu() -> Stateless:
    """Return an exponential linear unit (ELU)."""
    return Stateless(nn.ELU())


class GELU(Streaming):
    """The Gaussian error linear unit."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = False

    def of(self, x: Tensor) -> Tensor:
        """Apply the layer to a tensor of any shape."""
        fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
        return gelu(x) if self.fast and fits else F.gelu(x)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.of(x), state


class SnakeBeta(Streaming):
    """SnakeBeta(x) = x + (1/beta) sin^2(alpha x), with alpha and beta per channel.

    The activation comes from BigVGAN (arXiv 2206.04658); IRIS uses it. The parameters are
    logarithms, so alpha and beta stay positive. The equal form x + (1 - cos(2 alpha x)) / (2 beta)
    needs one multiplication less.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(channels, 1))
        self.log_beta = nn.Parameter(torch.zeros(channels, 1))
        self.fast = False

    def parameters_of_sine(self) -> tuple[Tensor, Tensor]:
        """Return alpha and 1 / beta, each ``[channels, 1]``."""
        return self.log_alpha.exp(), (-self.log_beta).exp()

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        alpha, height = self.parameters_of_sine()
        if self.fast and fast.runs_on(x):
            return snake(x, alpha, height), state
        return x + 0.5 * height * (1 - torch.cos(2 * alpha * x)), state

    def exported(self) -> Streaming:
        return FoldedSnake(self)


class FoldedSnake(Streaming):
    """`SnakeBeta` as x + h - h cos(f x) with the constants h = 1 / (2 beta) and f = 2 alpha."""

    frequency: Tensor
    height: Tensor

    def __init__(self, snake: SnakeBeta) -> None:
        super().__init__()
        self.register_buffer("frequency", 2 * snake.log_alpha.exp())
        self.register_buffer("height", 0.5 * (-snake.log_beta).exp())

    def emit(self, part: Part, x: Value) -> Value:
        return part.activate(x, ("snake", self.frequency.numpy(), self.height.numpy()))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (x + self.height) - self.height * torch.cos(self.frequency * x), state


class Snake(Streaming):
    """Snake(x) = x + (1/alpha) sin^2(alpha x), with alpha per channel (arXiv 2006.08195).

    It is computed in the equal form x + (1 - cos(2 alpha x)) / (2 alpha).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))
        self.fast = False

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.fast and fast.runs_on(x):
            return snake(x, self.alpha, 1 / self.alpha), state
        return x + (1 - torch.cos(2 * self.alpha * x)) / (2 * self.alpha), state


class DynamicTanh(Streaming):
    """Dynamic tanh, tanh(alpha x) with one alpha, instead of a normalisation (arXiv 2503.10622)."""

    def __init__(self, first: float = 0.5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), first))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return torch.tanh(self.alpha * x), state
