"""Comparison up to rounding."""

import numpy as np
from torch import Tensor
from torch.testing import assert_close


def same(a: Tensor, b: Tensor) -> None:
    assert_close(a, b, rtol=1e-5, atol=1e-5)


def error_db(value: np.ndarray | Tensor, expected: np.ndarray | Tensor) -> float:
    """Return the power of the difference relative to the expected power."""
    difference = np.asarray(value, np.float64) - np.asarray(expected, np.float64)
    power = np.square(difference).sum() / np.square(np.asarray(expected, np.float64)).sum()
    return float(10 * np.log10(power + 1e-30))
