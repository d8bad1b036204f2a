"""Layers with several branches: skip connections and parallel branches, and the delay they need."""

from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor

from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import Sequential, Span, State, Streaming, joined


class Delay(Streaming):
    """Delay the signal by ``steps`` time steps; the output starts with zeros."""

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.channels, self.steps = channels, steps

    @property
    def delay(self) -> Fraction:
        return Fraction(self.steps)

    def span(self, span: Span) -> Span:
        return span[0] - self.steps, span[1] - self.steps

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.steps == 0:
            return {}
        return {"past": torch.zeros(batch, self.channels, self.steps, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.steps == 0:
            return x, {}
        line = torch.cat([state["past"], x], dim=2)
        return line[:, :, : x.shape[2]], {"past": line[:, :, x.shape[2] :].clone()}


class Residual(Streaming):
    """``x + block(x)``, where the skip connection is delayed like the block.

    Args:
        channels: channels of ``x``.
        block: the residual branch; its delay must be a whole number of steps.
        shortcut: a stateless layer for the skip connection; it must have the ratio of ``block``.
    """

    def __init__(self, channels: int, block: Streaming, shortcut: Streaming | None = None) -> None:
        super().__init__()
        if block.ratio != (1 if shortcut is None else shortcut.ratio):
            raise ValueError("a residual block must keep the rate of its input or shortcut")
        if block.delay.denominator != 1:
            raise ValueError("the delay of a residual block must be a whole number of steps")
        self.block = block
        delay = Delay(channels, int(block.delay))
        self.skip = delay if shortcut is None else Sequential(delay, shortcut)

    @property
    def delay(self) -> Fraction:
        return self.block.delay

    @property
    def ratio(self) -> Fraction:
        return self.block.ratio

    def span(self, span: Span) -> Span:
        return joined(self.block.span(span), self.skip.span(span))

    def emit(self, part: Part, x: Value) -> Value:
        x.shared = True
        if isinstance(self.skip, Delay):
            return part.plus(self.block.emit(part, x), x, self.skip.steps)
        delay, shortcut = self.skip.layers
        if delay.delay:
            raise NotImplementedError("the native engine has no delayed shortcut")
        skip = shortcut.emit(part, x)
        return part.plus(self.block.emit(part, x), skip)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        y = self.run("block", x, state, after)
        return self.run("skip", x, state, after) + y, after


class Parallel(Streaming):
    """Parallel branches over disjoint channels, whose outputs are concatenated.

    Args:
        channels: number of input channels of each branch.
        branches: layers with equal delays and ratios.
    """

    def __init__(self, channels: Sequence[int], *branches: Streaming) -> None:
        super().__init__()
        if len({(branch.delay, branch.ratio) for branch in branches}) != 1:
            raise ValueError("parallel branches must have one delay and one rate")
        self.channels = list(channels)
        for index, branch in enumerate(branches):
            self.add_module(str(index), branch)

    @property
    def branches(self) -> list[Streaming]:
        return [cast(Streaming, branch) for branch in self.children()]

    @property
    def delay(self) -> Fraction:
        return self.branches[0].delay

    @property
    def ratio(self) -> Fraction:
        return self.branches[0].ratio

    def span(self, span: Span) -> Span:
        return joined(*(branch.span(span) for branch in self.branches))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        shares = x.split(self.channels, dim=1)
        outputs = [
            self.run(name, share, state, after)
            for name, share in zip(self._modules, shares, strict=True)
        ]
        return torch.cat(outputs, dim=1), after
