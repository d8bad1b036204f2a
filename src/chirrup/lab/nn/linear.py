"""Linear layers over the channels of each time step."""

from torch import Tensor, nn

from chirrup.lab.nn.activations import GELU
from chirrup.lab.nn.branches import Residual
from chirrup.lab.nn.streaming import Sequential, Span, State, Streaming


class Linear(Streaming):
    """A 1x1 convolution as a matrix product.

    For few time steps it is faster than a convolution, since reading the weights takes most time.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.linear(x.transpose(1, 2)).transpose(1, 2), state


class ChunkWise(Streaming):
    """Base of layers that process all channels of ``chunk`` frames as one vector."""

    def __init__(self, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk

    def forward_chunks(self, chunks: Tensor) -> Tensor:
        """Return the output for ``chunks [batch, chunks, chunk * channels]``."""
        raise NotImplementedError

    def span(self, span: Span) -> Span:
        first, last = (step // self.chunk for step in span)
        return first * self.chunk, (last + 1) * self.chunk - 1

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        chunks = x.transpose(1, 2).unflatten(1, (-1, self.chunk)).flatten(2)
        rows = self.forward_chunks(chunks).unflatten(2, (self.chunk, -1)).flatten(1, 2)
        return rows.transpose(1, 2), state


class ChunkLinear(ChunkWise):
    """A linear layer from all channels of ``chunk`` frames to ``chunk`` frames."""

    def __init__(self, in_channels: int, out_channels: int, chunk: int) -> None:
        super().__init__(chunk)
        self.linear = nn.Linear(chunk * in_channels, chunk * out_channels)

    def forward_chunks(self, chunks: Tensor) -> Tensor:
        return self.linear(chunks)


class FeedForward(Residual):
    """``x + contract(gelu(expand(norm(x))))``.

    Args:
        norm: a layer over ``channels`` without state.
    """

    def __init__(self, channels: int, hidden: int, norm: Streaming) -> None:
        block = Sequential(norm, Linear(channels, hidden), GELU(), Linear(hidden, channels))
        super().__init__(channels, block)
