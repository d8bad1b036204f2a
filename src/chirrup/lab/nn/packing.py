"""Weights in the layout of the native engine, whose operations work on whole vectors."""

from dataclasses import dataclass

import numpy as np

LANES = 16
"""Floats of a vector."""


def padded(count: int) -> int:
    """Round a number of floats up to whole vectors."""
    return -(-count // LANES) * LANES


def with_zeros(values: np.ndarray, size: int) -> np.ndarray:
    """Return ``values`` and zeros behind them, ``float32 [size]``."""
    row = np.zeros(size, np.float32)
    row[: values.size] = values.ravel()
    return row


@dataclass(frozen=True)
class ConvWeights:
    """Weight ``[outputs, inputs of a group, kernel]`` and bias ``[outputs]`` of a convolution."""

    weight: np.ndarray
    bias: np.ndarray
    groups: int

    @property
    def outputs(self) -> int:
        """Outputs of a group."""
        return len(self.weight) // self.groups

    @property
    def lanes(self) -> int:
        """Outputs of a group, rounded up to whole vectors."""
        return padded(self.outputs)

    @property
    def columns(self) -> int:
        """Columns that the vectors of all groups reach."""
        return (self.groups - 1) * self.outputs + self.lanes

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return one value per output, by group, with zeros behind: ``[groups, lanes]``."""
        rows = np.zeros((self.groups, self.lanes), np.float32)
        rows[:, : self.outputs] = values.reshape(self.groups, self.outputs)
        return rows

    def packed(self) -> np.ndarray:
        """Return the weight as ``[groups, kernel, inputs, lanes]``."""
        _, inputs, kernel = self.weight.shape
        packed = np.zeros((self.groups, kernel, inputs, self.lanes), np.float32)
        split = self.weight.reshape(self.groups, self.outputs, inputs, kernel)
        packed[..., : self.outputs] = split.transpose(0, 3, 2, 1)
        return packed

    def merged(self, count: int) -> "ConvWeights":
        """Return equal weights with ``count`` groups joined to one, with zeros between them."""
        outputs, inputs, kernel = self.weight.shape
        joint = np.zeros((outputs, count, inputs, kernel), self.weight.dtype)
        for group in range(self.groups):
            rows = slice(group * self.outputs, (group + 1) * self.outputs)
            joint[rows, group % count] = self.weight[rows]
        weight = joint.reshape(outputs, count * inputs, kernel)
        return ConvWeights(weight, self.bias, self.groups // count)

    def in_few_vectors(self) -> "ConvWeights":
        """Return equal weights whose groups need the fewest vectors, and then the fewest groups."""
        counts = [count for count in range(1, self.groups + 1) if self.groups % count == 0]
        best = min(counts, key=lambda count: (padded(count * self.outputs), -count))
        return self.merged(best)

    def within(self, columns: int) -> "ConvWeights":
        """Return equal weights whose vectors reach at most ``columns`` columns."""
        if self.columns <= columns:
            return self
        return self.merged(2 if self.groups % 2 == 0 else self.groups).within(columns)

    def several_steps(self, steps: int) -> "ConvWeights":
        """Return weights that compute steps of one output channel as channels, at that stride."""
        _, inputs, kernel = self.weight.shape
        wide = np.zeros((steps, inputs, kernel + steps - 1), np.float32)
        for step in range(steps):
            wide[step, :, step : step + kernel] = self.weight[0]
        return ConvWeights(wide, np.repeat(self.bias, steps), 1)
