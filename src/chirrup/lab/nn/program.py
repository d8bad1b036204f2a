"""Programs for the native engine: the operations that layers are written in.

A program is a list of operations on values. A value is a matrix with a number of rows per frame and
one column per channel; columns are padded to whole vectors. docs/reference/program.md specifies the
operations and the file, `lab/export/program.py` writes it, and ``native/`` runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chirrup.lab.nn.packing import LANES, ConvWeights, padded, with_zeros

OPERATIONS = (
    *("conv", "activate", "norm", "depthwise", "multiply", "gru", "lstm", "overlap", "search"),
    *("lookup", "head", "input", "output", "istft"),
)
ACTIVATIONS = ("none", "snake", "elu", "gelu", "tanh")


@dataclass(eq=False)
class Value:
    """A matrix in the engine's memory.

    Attributes:
        rows: rows per frame.
        channels: columns that are used.
        stride: floats from a row to the next one.
        before: rows of earlier frames that an operation needs in front of the first one.
        first, last: operations that use it first and last.
        shared: whether a later layer needs it, so that no operation may change it.
        offset: place of the first row in the memory, in floats; the writer sets it.
    """

    rows: int
    channels: int
    stride: int
    before: int = 0
    first: int | None = None
    last: int = 0
    shared: bool = False
    offset: int = 0


@dataclass
class Operation:
    """One operation. The meaning of ``numbers`` and ``weights`` depends on its kind."""

    kind: str
    x: Value | None = None
    y: Value | None = None
    other: Value | None = None
    state: int = 0
    delay: int = 0
    delay_state: int = 0
    numbers: list[int] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def content(self) -> tuple[list[int], list[np.ndarray]]:
        """Return numbers and weights as the file has them."""
        return self.numbers, self.weights


Activation = tuple[str, np.ndarray | None, np.ndarray | None]
"""Kind, and for snake its frequency and height per channel."""


@dataclass(kw_only=True)
class Convolution(Operation):
    """A causal convolution, plus the other value, then an activation."""

    conv: ConvWeights
    stride: int = 1
    dilation: int = 1
    activation: Activation = ("none", None, None)

    @property
    def past(self) -> int:
        """Rows of its input in front of the first one."""
        return (self.conv.weight.shape[2] - 1) * self.dilation + 1 - self.stride

    def content(self) -> tuple[list[int], list[np.ndarray]]:
        conv, (kind, *parameters) = self.conv, self.activation
        _, inputs, kernel = conv.weight.shape
        shape = [conv.groups, inputs, conv.outputs, conv.lanes]
        numbers = [kernel, self.stride, self.dilation, *shape, ACTIVATIONS.index(kind), self.past]
        bias = conv.spread(conv.bias)
        used = [bias if values is None else conv.spread(values) for values in parameters]
        return numbers, [conv.packed(), bias, *used]


class Part:
    """The program of an encoder or a decoder, while layers add operations to it."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.state_floats = 0

    def value(self, rows: int, channels: int, stride: int | None = None) -> Value:
        """Add a value."""
        value = Value(rows, channels, padded(channels) if stride is None else stride)
        self.values.append(value)
        return value

    def add(self, operation: Operation) -> Operation:
        """Add an operation."""
        number = len(self.operations)
        self.operations.append(operation)
        for value in (operation.x, operation.y, operation.other):
            if value is not None:
                value.first = number if value.first is None else value.first
                value.last = number
        return operation

    def reserve(self, floats: int) -> int:
        """Reserve a part of the stream's state; return its place in floats."""
        place = self.state_floats
        self.state_floats += padded(floats)
        return place

    # --- operations ------------------------------------------------------------------------------

    def conv(
        self,
        x: Value,
        weight: np.ndarray,
        bias: np.ndarray | None,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> Value:
        """Add a causal convolution, ``weight [outputs, inputs / groups, kernel]``."""
        bias = np.zeros(len(weight), np.float32) if bias is None else bias
        conv = ConvWeights(weight, bias, groups).in_few_vectors()
        operation = Convolution("conv", x, conv=conv, stride=stride, dilation=dilation)
        operation.state = self.reserve(operation.past * x.stride)
        x.before = max(x.before, operation.past)
        operation.y = self.value(x.rows // stride, len(weight), padded(conv.columns))
        self.add(operation)
        return operation.y

    def transposed_conv(
        self, x: Value, weight: np.ndarray, bias: np.ndarray | None, stride: int
    ) -> Value:
        """Add a causal transposed convolution, ``weight [inputs, outputs, kernel]``."""
        inputs, outputs, kernel = weight.shape
        columns = padded(outputs)
        matrix = np.zeros((kernel, columns, inputs), np.float32)
        matrix[:, :outputs] = weight.transpose(2, 1, 0)
        start = np.zeros((kernel, columns), np.float32)
        if bias is not None:
            start[:stride, :outputs] = bias.ravel()
        spread = self.conv(x, matrix.reshape(kernel * columns, inputs, 1), start.ravel())
        return self.overlap(spread, self.value(x.rows * stride, outputs), kernel, stride)

    def overlap(self, x: Value, y: Value, kernel: int, stride: int) -> Value:
        """Add rows of ``x``, each ``kernel`` rows of ``y``, at a distance of ``stride`` rows."""
        state = self.reserve((kernel - stride) * y.stride)
        self.add(Operation("overlap", x, y, state=state, numbers=[kernel, stride]))
        return y

    def activate(self, x: Value, activation: Activation) -> Value:
        """Add an activation; it becomes a part of the convolution before it if there is one."""
        if (last := self._fusible(x)) is not None:
            last.activation = activation
            return x
        kind, *parameters = activation
        y = self.value(x.rows, x.channels, x.stride)
        nothing = np.zeros(0, np.float32)
        weights = [with_zeros(nothing if v is None else v, x.stride) for v in parameters]
        numbers = [ACTIVATIONS.index(kind)]
        self.add(Operation("activate", x, y, numbers=numbers, weights=weights))
        return y

    def plus(self, x: Value, skip: Value, delay: int = 0) -> Value:
        """Add ``skip``, delayed by rows, to ``x``; a part of the convolution before it if any."""
        if (last := self._fusible(x)) is not None:
            last.conv = last.conv.within(skip.stride)
            last.other, last.delay = skip, delay
            skip.last = len(self.operations) - 1
            if delay:
                last.delay_state = self.reserve(delay * skip.stride)
                skip.before = max(skip.before, delay)
            return x
        if delay:
            raise TypeError("a delayed skip connection needs a convolution before it")
        y = self.value(x.rows, x.channels, x.stride)
        self.add(Operation("multiply", x, y, skip, numbers=[1]))
        return y

    def _fusible(self, x: Value) -> Convolution | None:
        """Return the last operation if it is a plain convolution to a value that is not shared."""
        last = self._convolution_to(x)
        plain = last is not None and last.activation[0] == "none" and last.other is None
        return last if plain and not x.shared else None

    def _convolution_to(self, x: Value) -> Convolution | None:
        """Return the last operation if it is a convolution with the result ``x``."""
        last = self.operations[-1] if self.operations else None
        return last if isinstance(last, Convolution) and last.y is x else None

    def multiply(self, x: Value, other: Value) -> Value:
        """Add a product of two values."""
        y = self.value(x.rows, x.channels, x.stride)
        self.add(Operation("multiply", x, y, other, numbers=[0]))
        return y

    def norm(self, x: Value, gain: np.ndarray, bias: np.ndarray, eps: float) -> Value:
        """Add a layer normalisation over the channels."""
        y = self.value(x.rows, x.channels, x.stride)
        weights = [with_zeros(gain, x.stride), with_zeros(bias, x.stride)]
        weights.append(np.full(LANES, eps, np.float32))
        self.add(Operation("norm", x, y, numbers=[x.channels], weights=weights))
        return y

    def depthwise(self, x: Value, weight: np.ndarray, bias: np.ndarray) -> Value:
        """Add a causal depthwise convolution, ``weight [channels, kernel]``."""
        kernel = weight.shape[1]
        rows = np.zeros((kernel, x.stride), np.float32)
        rows[:, : x.channels] = weight.T
        x.before = max(x.before, kernel - 1)
        y = self.value(x.rows, x.channels, x.stride)
        weights = [rows, with_zeros(bias, x.stride)]
        state, numbers = self.reserve((kernel - 1) * x.stride), [kernel, kernel - 1]
        self.add(Operation("depthwise", x, y, state=state, numbers=numbers, weights=weights))
        return y

    def recurrent(self, x: Value, kind: str, layer: Sequence[np.ndarray]) -> Value:
        """Add a layer of a GRU or an LSTM.

        Args:
            kind: "gru" or "lstm".
            layer: input and hidden weights, and both biases, with PyTorch's order of gates.
        """
        into, hidden, into_bias, hidden_bias = layer
        gates, size = hidden.shape
        if size % LANES:
            raise TypeError(f"a {kind} of {size} channels is not a multiple of {LANES}")
        projected = self.conv(x, into[:, :, None], into_bias)
        y, product = self.value(x.rows, size), self.value(1, gates)
        state = self.reserve(size * (2 if kind == "lstm" else 1))
        weights = [hidden.T, hidden_bias]
        self.add(Operation(kind, projected, y, product, state, numbers=[size], weights=weights))
        return y

    def head(self, x: Value, bins: int) -> Value:
        """Add the step from log magnitudes and phases to real and imaginary parts.

        Both halves of ``x`` and of the result have ``bins`` columns, a multiple of `LANES`.
        """
        y = self.value(x.rows, 2 * bins)
        self.add(Operation("head", x, y, numbers=[bins]))
        return y

    def istft(self, x: Value, window: np.ndarray) -> Value:
        """Add an inverse DFT of real and imaginary parts to windowed frames.

        A frame has n = rows * columns samples. Bin k = columns * a + b, a < rows / 2, and sample
        r + rows * c are computed in two steps:

        - T[b, r] = exp(2 pi i b r / n) * sum over a of X[columns * a + b] exp(2 pi i a r / rows),
        - y[r + rows * c] = Re sum over b of T[b, r] exp(2 pi i b c / columns).

        Bins 0 and n / 2 count half; the weights ``ends`` correct them.
        """
        n = window.size
        choices = [count for count in range(2, n, 2) if n // 2 % count == 0]
        columns = min(choices, key=lambda c: padded(n // c) * (c * n // c + c * c))
        rows = n // columns
        r, lanes = np.arange(rows), padded(rows)
        a, b = np.arange(rows // 2), np.arange(columns)

        def vectors(angles: np.ndarray) -> np.ndarray:
            """Return cosines and sines ``[..., 2, lanes]`` of angles ``[..., rows]``."""
            parts = np.zeros((*angles.shape[:-1], 2, lanes))
            parts[..., 0, :rows], parts[..., 1, :rows] = np.cos(angles), np.sin(angles)
            return parts

        inner = vectors(2 * np.pi * np.outer(a, r) / rows)
        turn = vectors(2 * np.pi * np.outer(b, r) / n) * 2 / n
        ends = np.zeros((2, lanes))
        ends[0, :rows], ends[1, :rows] = -1 / n, (-1.0) ** r / n
        angles = 2 * np.pi * np.outer(b, b) / columns
        outer = np.stack([np.cos(angles), -np.sin(angles)], axis=-1)
        # Vectors of the last rows reach beyond a frame.
        y = self.value(x.rows, n, padded(n + lanes - rows))
        temporary = self.value(1, 2 * (columns + 1) * lanes)
        weights = [inner, turn, ends, outer, window]
        numbers = [rows, columns, x.channels // 2]
        self.add(Operation("istft", x, y, temporary, numbers=numbers, weights=weights))
        return y

    def output(self, audio: Value) -> None:
        """Add the copy of the audio, ``audio.channels`` samples in each row, to the output.

        If a convolution makes one sample a row, it is changed to make several.
        """
        last = self._convolution_to(audio)
        if last is not None and audio.channels == last.stride == last.dilation == 1:
            steps = max(count for count in range(1, LANES + 1) if audio.rows % count == 0)
            if last.other is None and last.activation[1] is None:
                last.conv, last.stride = last.conv.several_steps(steps), steps
                audio.rows, audio.channels = audio.rows // steps, steps
        numbers = [audio.rows * audio.channels, audio.channels]
        self.add(Operation("output", audio, numbers=numbers))
