"""Causal focal modulation and the blocks of FocalCodec-Stream (arXiv 2509.16195)."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from chirrup.lab.nn.activations import GELU, DynamicTanh
from chirrup.lab.nn.branches import Residual
from chirrup.lab.nn.linear import ChunkWise, FeedForward, Linear
from chirrup.lab.nn.replicated import ReplicatedConv1d
from chirrup.lab.nn.streaming import Sequential, Span, State, Streaming


class FocalModulation(Streaming):
    """Causal focal modulation (arXiv 2203.11926).

    A stack of depthwise convolutions with GELU gathers context from an increasing past. Each level
    of context has a gate per frame. The gated sum, projected, multiplies a query of the frame.
    """

    def __init__(self, channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.levels = channels, len(kernels)
        self.project_in = Linear(channels, 2 * channels + len(kernels))
        for index, kernel in enumerate(kernels):
            level = ReplicatedConv1d(channels, channels, kernel, groups=channels)
            self.add_module(f"level_{index}", level)
        self.gelu = GELU()
        self.project_context = Linear(channels, channels)
        self.project_out = Linear(channels, channels)

    def span(self, span: Span) -> Span:
        for index in reversed(range(self.levels)):
            span = cast(Streaming, self.get_submodule(f"level_{index}")).span(span)
        return span

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        x, _ = self.project_in(x, {})
        query, context, gates = x.split([self.channels, self.channels, self.levels], dim=1)
        modulator = None
        for index in range(self.levels):
            context = self.gelu.of(self.run(f"level_{index}", context, state, after))
            gated = context * gates[:, index : index + 1]
            modulator = gated if modulator is None else modulator + gated
        assert modulator is not None
        modulator, _ = self.project_context(modulator, {})
        return self.project_out(query * modulator, {})[0], after


class FocalBlock(Sequential):
    """Focal modulation and a feed-forward part, each after a `DynamicTanh` and with a skip."""

    def __init__(self, channels: int, hidden: int, kernels: Sequence[int]) -> None:
        modulation = Sequential(DynamicTanh(), FocalModulation(channels, kernels))
        super().__init__(
            Residual(channels, modulation), FeedForward(channels, hidden, DynamicTanh())
        )


class Refiner(ChunkWise):
    """``x + contract(gelu(expand(x)))``, where x contains all channels of ``chunk`` frames."""

    def __init__(self, channels: int, chunk: int) -> None:
        super().__init__(chunk)
        self.expand = nn.Linear(chunk * channels, chunk * channels)
        self.contract = nn.Linear(chunk * channels, chunk * channels)
        self.gelu = GELU()

    def forward_chunks(self, chunks: Tensor) -> Tensor:
        return chunks + self.contract(self.gelu.of(self.expand(chunks)))
