"""The interface of streaming layers: `Streaming`, and containers of such layers.

A layer is a module with ``initial_state(batch)`` and ``forward(x, state) -> (y, state)``. The state
is a flat dict of named tensors, and modules keep no other state. A whole signal is one call from
the initial state. A live stream is a series of calls, each with the state of the call before. Both
use one implementation.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
Span = tuple[int, int]
"""First and last time step of a range, both inclusive."""


def strided(span: Span, stride: int, context: int) -> Span:
    """Return the input steps of a convolution.

    An output step depends on its own ``stride`` input steps and on ``context`` steps before them.
    """
    return span[0] * stride - context, (span[1] + 1) * stride - 1


def transposed(span: Span, stride: int, overlap: int) -> Span:
    """Return the input steps of a transposed convolution, or of an overlap-add of frames.

    An input step contributes to ``stride + overlap`` output steps.
    """
    return -((overlap + stride - 1 - span[0]) // stride), span[1] // stride


def joined(*spans: Span) -> Span:
    """Return the smallest range that contains all ``spans``."""
    return min(first for first, _ in spans), max(last for _, last in spans)


class Streaming(nn.Module):
    """Base of all streaming layers.

    Attributes:
        delay: delay of the output in input steps, compared with a layer that has look-ahead. It is
            0 for a causal layer.
        ratio: input steps per output step: the stride of a convolution, 1/stride of a transposed
            convolution. The length of a chunk must be a multiple of it in every layer of a
            sequence.
        recurrent: whether the output depends on all earlier inputs instead of a limited number. The
            phase of an oscillator does not count, because its start is inaudible.
    """

    @property
    def delay(self) -> Fraction:
        return Fraction(0)

    @property
    def ratio(self) -> Fraction:
        return Fraction(1)

    @property
    def recurrent(self) -> bool:
        return any(child.recurrent for child in self.children() if isinstance(child, Streaming))

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        """Return the state before the first sample of ``batch`` independent streams.

        The first dimension of every tensor is the batch. By default, the state is the union of the
        states of all streaming children, with names joined by dots.
        """
        return {
            f"{name}.{key}": value
            for name, child in self.named_children()
            if isinstance(child, Streaming)
            for key, value in child.initial_state(batch, device).items()
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the layer on the next steps of each stream.

        Args:
            x: ``[batch, channels, time]``.
            state: the state after the steps before.

        Returns:
            The output, ``[batch, channels, time / ratio]``, and the new state.
        """
        raise NotImplementedError

    def span(self, span: Span) -> Span:
        """Return the input steps that the output steps of ``span`` depend on.

        For a recurrent layer, which depends on all earlier steps, the recurrence is left out.

        Raises:
            TypeError: the layer has a state, or a ratio other than 1, but no `span` method.
        """
        if self.ratio != 1 or self.initial_state(1):
            raise TypeError(f"{type(self).__name__} has a state or another rate: give it a span()")
        return span

    def fold(self) -> None:
        """Fold parameters into other layers of this module, in place, if the result is equal."""

    def exported(self) -> "Streaming":
        """Return an equal layer of fewer or cheaper operations that every runtime supports.

        Its state has the same form.
        """
        return self

    def one_frame(self) -> "Streaming":
        """Return an equal layer for calls of one frame, or of one chunk of frames.

        Its state has the same form.
        """
        return self

    def takes_elu(self, x: Tensor) -> bool:
        """Return whether `forward` accepts ``elu``, to apply an ELU to this input first."""
        return False

    def run(self, name: str, x: Tensor, state: State, after: State, **options: bool) -> Tensor:
        """Run the child ``name`` with its part of ``state`` and put its new state into ``after``.

        Args:
            options: keyword arguments of the child's `forward`.
        """
        child = cast(Streaming, self._modules[name])
        prefix = name + "."
        own = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        y, new = child(x, own, **options)
        after.update({prefix + key: value for key, value in new.items()})
        return y

    def offline(self, x: Tensor) -> Tensor:
        """Run a whole signal ``[batch, channels, time]`` in one call, from the initial state."""
        return self(x, self.initial_state(x.shape[0], x.device))[0]


class Sequential(Streaming):
    """A chain of streaming layers."""

    def __init__(self, *layers: Streaming) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    @property
    def layers(self) -> list[Streaming]:
        return [cast(Streaming, layer) for layer in self.children()]

    @property
    def delay(self) -> Fraction:
        delay, scale = Fraction(0), Fraction(1)
        for layer in self.layers:
            delay += layer.delay * scale
            scale *= layer.ratio
        return delay

    @property
    def ratio(self) -> Fraction:
        ratio = Fraction(1)
        for layer in self.layers:
            ratio *= layer.ratio
        return ratio

    def span(self, span: Span) -> Span:
        for layer in reversed(self.layers):
            span = layer.span(span)
        return span

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        layers, index = self.layers, 0
        while index < len(layers):
            x, index = self.advance(layers[index : index + 2], index, x, state, after)
        return x, after

    def advance(
        self, pair: list[Streaming], index: int, x: Tensor, state: State, after: State
    ) -> tuple[Tensor, int]:
        """Run one layer, or two layers that can be computed as one operation.

        Args:
            pair: the layer ``index`` and the next layer, or the last layer alone.
            index: index of the first layer of ``pair``.
            x, state: input of the layer, and the state of the whole chain.
            after: receives the new states.

        Returns:
            The output, and the index of the next layer.
        """
        if is_elu(pair[0]) and pair[-1].takes_elu(x):
            return self.run(str(index + 1), x, state, after, elu=True), index + 2
        return self.run(str(index), x, state, after), index + 1


class Stateless(Streaming):
    """Any module over ``[batch, channels, time]`` that treats each time step separately."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.module(x), state


def is_elu(layer: Streaming) -> bool:
    """Return whether a layer is an ELU with alpha 1."""
    elu = layer.module if isinstance(layer, Stateless) else None
    return isinstance(elu, nn.ELU) and elu.alpha == 1


class LookAhead(Streaming):
    """An identity layer that declares a delay of ``steps`` steps.

    The layers after it are trained to return, at each step, the output of an earlier step. So they
    have look-ahead.
    """

    def __init__(self, steps: Fraction) -> None:
        super().__init__()
        self.steps = steps

    @property
    def delay(self) -> Fraction:
        return self.steps

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x, state


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
