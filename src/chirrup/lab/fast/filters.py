"""Frames under a window and banks of filters over their bins, as the C++ part reads them."""

from typing import NamedTuple

import torch
from torch import Tensor


class Sparse(NamedTuple):
    """A matrix whose rows are zero outside one range of columns.

    Attributes:
        places: first column and number of columns, ``int32 [2, rows]``.
        weights: the columns of all rows, row after row.
    """

    places: Tensor
    weights: Tensor


class Filters(NamedTuple):
    """A window and filters.

    Attributes:
        window: ``[n_fft]``.
        bands: the filters, one a row.
        bins: their transpose.
    """

    window: Tensor
    bands: Sparse
    bins: Sparse

    @property
    def n_fft(self) -> int:
        return len(self.window)


def sparse(matrix: Tensor) -> Sparse:
    """Keep each row of ``[rows, columns]`` from its first to its last column that is not zero."""
    filled, column = matrix != 0, torch.arange(matrix.shape[1])
    first = torch.where(filled, column, matrix.shape[1]).amin(1)
    stop = torch.where(filled, column + 1, 0).amax(1)
    inside = (column >= first[:, None]) & (column < stop[:, None])
    places = torch.stack([first * filled.any(1), inside.sum(1)])
    return Sparse(places.int(), matrix[inside].float())


def has_fast_transform(n_fft: int) -> bool:
    """Whether the C++ part transforms frames of this length: a power of two of at least 16."""
    return n_fft >= 16 and n_fft & (n_fft - 1) == 0


def filters(window: Tensor, bank: Tensor) -> Filters:
    """Tables for a window ``[n_fft]`` and a bank of filters ``[n_fft // 2 + 1, bands]``.

    Raises:
        ValueError: the C++ part has no transform of this length.
    """
    if not has_fast_transform(len(window)):
        raise ValueError(f"a window must have a power of two of samples from 16, not {len(window)}")
    return Filters(window.float().contiguous(), sparse(bank.t()), sparse(bank))
