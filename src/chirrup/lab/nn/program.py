"""Programs for the native engine: the operations that layers are written in.

A program is a list of operations on values. A value is a matrix with a number of rows per frame and
one column per channel; columns are padded to whole vectors. docs/reference/program.md specifies the
operations and the file, `lab/export/program.py` writes it, and ``native/`` runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chirrup.lab.nn.packing import LANES, best_merge, merged, padded, several_steps, with_zeros

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
    source: tuple[np.ndarray, np.ndarray, int] | None = None
    """Weight, bias and groups of a convolution."""


Activation = tuple[str, np.ndarray | None, np.ndarray | None]
"""Kind, and for snake its frequency and height per channel."""


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
        """Add a causal convolution, ``weight [outputs, inputs / groups, kernel]``.

        Groups whose outputs fill no whole vector are merged. A convolution to one channel computes
        several steps at once, as channels.
        """
        bias = np.zeros(len(weight), np.float32) if bias is None else bias
        weight, groups = merged(weight, groups, best_merge(len(weight) // groups, groups))
        if len(weight) == stride == dilation == 1:
            steps = max(count for count in range(1, LANES + 1) if x.rows % count == 0)
            weight, bias, stride = several_steps(weight, bias, steps)
        kernel = weight.shape[2]
        past = (kernel - 1) * dilation + 1 - stride
        x.before = max(x.before, past)
        operation = Operation("conv", x, state=self.reserve(past * x.stride))
        width = self._pack(operation, weight, bias, groups)
        kernel, groups, *sizes = operation.numbers
        operation.numbers = [kernel, stride, dilation, groups, *sizes, 0, past]
        operation.y = self.value(x.rows // stride, len(weight), padded(width))
        self.add(operation)
        return operation.y

    def _pack(self, operation: Operation, weight: np.ndarray, bias: np.ndarray, groups: int) -> int:
        """Set the weights of a convolution; return the columns that its vectors reach."""
        outputs, inputs, kernel = weight.shape
        outputs //= groups
        lanes = padded(outputs)
        packed = np.zeros((groups, kernel, inputs, lanes), np.float32)
        split = weight.reshape(groups, outputs, inputs, kernel)
        packed[..., :outputs] = split.transpose(0, 3, 2, 1)
        start = np.zeros((groups, lanes), np.float32)
        start[:, :outputs] = bias.reshape(groups, outputs)
        operation.weights = [packed, start, start, start]
        operation.source = weight, bias, groups
        shape = [groups, inputs, outputs, lanes]
        if operation.numbers:
            operation.numbers[3:7] = shape
        else:
            operation.numbers = [kernel, *shape]
        return (groups - 1) * outputs + lanes

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
        kind, *parameters = activation
        last = self._fusible(x)
        if last is not None and kind != "none":
            last.numbers[7] = ACTIVATIONS.index(kind)
            groups, _, outputs, lanes = last.numbers[3:7]
            for index, values in enumerate(parameters):
                if values is not None:
                    spread = np.zeros((groups, lanes), np.float32)
                    spread[:, :outputs] = values.reshape(groups, outputs)
                    last.weights[2 + index] = spread
            return x
        y = self.value(x.rows, x.channels, x.stride)
        nothing = np.zeros(0, np.float32)
        weights = [with_zeros(nothing if v is None else v, x.stride) for v in parameters]
        numbers = [ACTIVATIONS.index(kind)]
        self.add(Operation("activate", x, y, numbers=numbers, weights=weights))
        return y

    def plus(self, x: Value, skip: Value, delay: int = 0) -> Value:
        """Add ``skip``, delayed by rows, to ``x``; a part of the convolution before it if any."""
        if (last := self._fusible(x)) is not None:
            assert last.source is not None
            weight, bias, groups = last.source
            while self._pack(last, weight, bias, groups) > skip.stride:
                weight, groups = merged(weight, groups, 2 if groups % 2 == 0 else groups)
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

    def _fusible(self, x: Value) -> Operation | None:
        """Return the last operation if it is a plain convolution whose only use is ``x``."""
        last = self.operations[-1] if self.operations else None
        if last is None or last.kind != "conv" or last.y is not x or x.shared:
            return None
        return last if last.numbers[7] == 0 and last.other is None else None

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
