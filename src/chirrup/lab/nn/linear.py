"""Linear layers over the channels of each time step."""

from torch import Tensor, nn

from chirrup.lab.nn.streaming import Residual, Sequential, Span, State, Stateless, Streaming


class Linear(Streaming):
    """The same as a convolution with a kernel of one step, as a matrix product.

    For a few time steps that is what takes least: the cost is reading the weights.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.linear(x.transpose(1, 2)).transpose(1, 2), state


class ChunkWise(Streaming):
    """Base of layers to which ``chunk`` frames are one vector, of all their channels."""

    def __init__(self, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk

    def forward_chunks(self, chunks: Tensor) -> Tensor:
        """``[batch, chunks, chunk * channels]`` to the same, of other channels."""
        raise NotImplementedError

    def span(self, span: Span) -> Span:
        first, last = (step // self.chunk for step in span)
        return first * self.chunk, (last + 1) * self.chunk - 1

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        chunks = x.transpose(1, 2).unflatten(1, (-1, self.chunk)).flatten(2)
        rows = self.forward_chunks(chunks).unflatten(2, (self.chunk, -1)).flatten(1, 2)
        return rows.transpose(1, 2), state


class ChunkLinear(ChunkWise):
    """One matrix for all channels of ``chunk`` frames, to as many frames."""

    def __init__(self, in_channels: int, out_channels: int, chunk: int) -> None:
        super().__init__(chunk)
        self.linear = nn.Linear(chunk * in_channels, chunk * out_channels)

    def forward_chunks(self, chunks: Tensor) -> Tensor:
        return self.linear(chunks)


class FeedForward(Residual):
    """``x + contract(gelu(expand(norm(x))))``.

    Args:
        norm: takes ``channels``, keeps no past.
    """

    def __init__(self, channels: int, hidden: int, norm: Streaming) -> None:
        block = Sequential(
            norm, Linear(channels, hidden), Stateless(nn.GELU()), Linear(hidden, channels)
        )
        super().__init__(channels, block)
