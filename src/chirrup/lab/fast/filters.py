"""Windows and filter banks in the form that the C++ extension reads."""

from typing import NamedTuple

import torch
from torch import Tensor


class Sparse(NamedTuple):
    """A matrix whose rows are zero outside one range of columns.

    Attributes:
        places: first column and number of columns of each row, ``int32 [2, rows]``.
        weights: the values in these columns, row by row.
    """

    places: Tensor
    weights: Tensor


class Filters(NamedTuple):
    """A window and a filter bank.

    Attributes:
        window: ``[n_fft]``.
        bands: the filter bank, ``[bands, bins]``.
        bins: its transpose, ``[bins, bands]``.
    """

    window: Tensor
    bands: Sparse
    bins: Sparse

    @property
    def n_fft(self) -> int:
        return len(self.window)


def sparse(matrix: Tensor) -> Sparse:
    """Keep each row of ``[rows, columns]`` from its first to its last non-zero column."""
    filled, column = matrix != 0, torch.arange(matrix.shape[1])
    first = torch.where(filled, column, matrix.shape[1]).amin(1)
    stop = torch.where(filled, column + 1, 0).amax(1)
    inside = (column >= first[:, None]) & (column < stop[:, None])
    places = torch.stack([first * filled.any(1), inside.sum(1)])
    return Sparse(places.int(), matrix[inside].float())


def has_fast_transform(n_fft: int) -> bool:
    """Return whether the extension has a transform of this length: a power of two from 16 on."""
    return n_fft >= 16 and n_fft & (n_fft - 1) == 0


def filters(window: Tensor, bank: Tensor) -> Filters:
    """Return the tables for a window and a filter bank.

    Args:
        window: ``[n_fft]``.
        bank: ``[n_fft // 2 + 1, bands]``.

    Raises:
        ValueError: the extension has no transform of this length.
    """
    if not has_fast_transform(len(window)):
        raise ValueError(f"the window has {len(window)} samples, not a power of two from 16 on")
    return Filters(window.float().contiguous(), sparse(bank.t()), sparse(bank))
