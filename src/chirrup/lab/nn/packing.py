"""Weights in the layout of the native engine: whole vectors, merged groups, several steps."""

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


def best_merge(outputs: int, groups: int) -> int:
    """Return the number of groups to merge: the fewest vectors, and then the fewest groups."""
    counts = [count for count in range(1, groups + 1) if groups % count == 0]
    return min(counts, key=lambda count: (padded(count * outputs), -count))


def several_steps(
    weight: np.ndarray, bias: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return weight, bias and stride of a convolution that computes steps of a channel at once."""
    _, inputs, kernel = weight.shape
    wide = np.zeros((steps, inputs, kernel + steps - 1), np.float32)
    for step in range(steps):
        wide[step, :, step : step + kernel] = weight[0]
    return wide, np.repeat(bias, steps), steps


def merged(weight: np.ndarray, groups: int, count: int) -> tuple[np.ndarray, int]:
    """Join groups of a convolution, ``count`` to one, with zeros between them.

    Args:
        weight: ``[outputs, inputs of a group, kernel]``.

    Returns:
        An equal weight for fewer groups, and their number.
    """
    outputs, inputs, kernel = weight.shape
    each = outputs // groups
    joint = np.zeros((outputs, count, inputs, kernel), weight.dtype)
    for group in range(groups):
        rows = slice(group * each, (group + 1) * each)
        joint[rows, group % count] = weight[rows]
    return joint.reshape(outputs, count * inputs, kernel), groups // count
