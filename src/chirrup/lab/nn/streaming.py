"""The interface of streaming layers: `Streaming`, and containers of such layers.

A layer is a module with ``initial_state(batch)`` and ``forward(x, state) -> (y, state)``. The state
is a flat dict of named tensors, and modules keep no other state. A whole signal is one call from
the initial state. A live stream is a series of calls, each with the state of the call before. Both
use one implementation.
"""

from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab.nn.program import Part, Value

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

    def emit(self, part: Part, x: Value) -> Value:
        """Add the operations of this layer to a program of the native engine.

        Returns:
            The value of the output.

        Raises:
            NotImplementedError: the native engine has no form of this layer.
        """
        raise NotImplementedError(f"the native engine has no {type(self).__name__}")

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

    def emit(self, part: Part, x: Value) -> Value:
        for layer in self.layers:
            x = layer.emit(part, x)
        return x

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


PROGRAM_ACTIVATIONS: dict[type[nn.Module], str] = {nn.ELU: "elu", nn.Tanh: "tanh"}


class Stateless(Streaming):
    """Any module over ``[batch, channels, time]`` that treats each time step separately."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def emit(self, part: Part, x: Value) -> Value:
        kind = PROGRAM_ACTIVATIONS.get(type(self.module))
        if kind is None:
            return super().emit(part, x)
        return part.activate(x, (kind, None, None))

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
