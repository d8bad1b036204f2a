"""The streaming contract: state goes in, state comes out, nothing is remembered in between.

A layer is a module with ``initial_state(batch)`` and ``forward(x, state) -> (y, state)``. The state
is a flat dict of named tensors. A whole signal is one call from the initial state; a live stream is
many calls that hand the state on. There is no other implementation of either.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
Span = tuple[int, int]
"""First and last time step of a range, both included."""


def strided(span: Span, stride: int, context: int) -> Span:
    """Input steps of a convolution whose output step sees its own stride and ``context`` before."""
    return span[0] * stride - context, (span[1] + 1) * stride - 1


def transposed(span: Span, stride: int, overlap: int) -> Span:
    """Input steps of a transposed convolution, or of the overlap-add of frames."""
    return -((overlap + stride - 1 - span[0]) // stride), span[1] // stride


def joined(*spans: Span) -> Span:
    """The range that covers all of several."""
    return min(first for first, _ in spans), max(last for _, last in spans)


class Streaming(nn.Module):
    """Base of all streaming layers.

    Attributes:
        delay: how many input steps late the output comes, compared with the centred layer of
            the literature. 0 for a causal layer.
        ratio: input steps per output step: the stride of a convolution, 1/stride of a
            transposed one. A chunk must be a whole number of ``ratio`` steps long, and so must
            what each layer of a sequence makes of it.
        recurrent: whether its output depends on all earlier inputs instead of the last few. A
            phase that runs on does not count: where it began is not heard.
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
        """The state before the first sample, for ``batch`` independent streams.

        Every tensor has the batch as its first dimension. This default gathers the states of all
        streaming children, their names joined by dots.
        """
        return {
            f"{name}.{key}": value
            for name, child in self.named_children()
            if isinstance(child, Streaming)
            for key, value in child.initial_state(batch, device).items()
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """``x`` is ``[batch, channels, time]``; so is the output, at 1/``ratio`` of the rate."""
        raise NotImplementedError

    def span(self, span: Span) -> Span:
        """Input steps that the output steps of ``span`` depend on, as far as they are bounded.

        A recurrent layer depends on all earlier steps; its span is that of its output.

        Raises:
            TypeError: the layer has a state or another rate, and does not say what it sees.
        """
        if self.ratio != 1 or self.initial_state(1):
            raise TypeError(f"{type(self).__name__} has a state or another rate: give it a span()")
        return span

    def fold(self) -> None:
        """Turn parameters into constants of other layers within, in place, where that is exact."""

    def exported(self) -> "Streaming":
        """The layer in fewer or cheaper operations, which every runtime has; same state."""
        return self

    def one_frame(self) -> "Streaming":
        """The layer for calls of one frame, or of one chunk of frames; same state."""
        return self

    def takes_elu(self, x: Tensor) -> bool:
        """Whether `forward` can compute an ELU of this input first: it has the option ``elu``."""
        return False

    def run(self, name: str, x: Tensor, state: State, after: State, **options: bool) -> Tensor:
        """Run the child ``name`` with its part of ``state``; put its new part in ``after``.

        The ``options`` are those of the child's `forward`.
        """
        child = cast(Streaming, self._modules[name])
        prefix = name + "."
        own = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        y, new = child(x, own, **options)
        after.update({prefix + key: value for key, value in new.items()})
        return y

    def offline(self, x: Tensor) -> Tensor:
        """The whole signal in one call, from the initial state: ``[batch, channels, time]``."""
        return self(x, self.initial_state(x.shape[0], x.device))[0]


class Sequential(Streaming):
    """Streaming layers one after the other."""

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
        """Run a layer, or two that are one operation.

        Args:
            pair: the layer of this index and the next one; at the end the layer alone.

        Returns:
            The output, and the index of the next layer.
        """
        if is_elu(pair[0]) and pair[-1].takes_elu(x):
            return self.run(str(index + 1), x, state, after, elu=True), index + 2
        return self.run(str(index), x, state, after), index + 1


class Stateless(Streaming):
    """A layer that treats each time step alone: any module from ``[batch, channels, time]``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.module(x), state


def is_elu(layer: Streaming) -> bool:
    elu = layer.module if isinstance(layer, Stateless) else None
    return isinstance(elu, nn.ELU) and elu.alpha == 1


class LookAhead(Streaming):
    """Changes nothing, but says that what follows is to come ``steps`` steps late: it was trained
    to give, at each step, what belongs to an earlier one, and so hears what comes after that."""

    def __init__(self, steps: Fraction) -> None:
        super().__init__()
        self.steps = steps

    @property
    def delay(self) -> Fraction:
        return self.steps

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x, state


class Delay(Streaming):
    """``steps`` time steps late; zeros come first."""

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
    """``x + block(x)``, the skip delayed by as much as the block.

    With a ``shortcut``, which must keep no past, ``shortcut(x) + block(x)``, both at one rate.
    """

    def __init__(self, channels: int, block: Streaming, shortcut: Streaming | None = None) -> None:
        super().__init__()
        if block.ratio != (1 if shortcut is None else shortcut.ratio):
            raise ValueError("a residual block must keep the rate of its input or shortcut")
        if block.delay.denominator != 1:
            raise ValueError("a residual block must be a whole number of steps late")
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
    """Branches side by side: each takes its share of the channels, their outputs are joined.

    Args:
        channels: of each branch's input, in order.
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
