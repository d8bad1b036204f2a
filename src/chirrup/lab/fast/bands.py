"""Spectra summed in bands, with gradients; see `bands.cpp`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension
from chirrup.lab.fast.filters import Filters


class _BandSums(torch.autograd.Function):
    """Saves the signal only; the backward pass recomputes its spectra."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, filters: Filters, hop: int, squared: bool) -> Tensor:
        signal = signal.contiguous()
        ctx.save_for_backward(signal)
        ctx.tables = (filters.window, hop, *filters.bands, *filters.bins, squared)
        return extension().band_sums(signal, *ctx.tables)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_sums: Tensor
    ) -> tuple[Tensor | None, ...]:
        (signal,) = ctx.saved_tensors
        gradient = extension().band_sums_backward(d_sums.contiguous(), signal, *ctx.tables)
        return gradient, None, None, None


def band_magnitudes(signal: Tensor, filters: Filters, hop: int) -> Tensor:
    """Compute ``|rfft(frames * window)| @ bank`` without padding. It can be differentiated once.

    Args:
        signal: float32 on the CPU, ``[batch, samples]``, at least one window.
        filters: window and bank.
        hop: hop of the frames in samples.

    Returns:
        ``[batch, frames, bands]``.
    """
    return _BandSums.apply(signal, filters, hop, False)  # type: ignore[no-any-return]


def band_powers(signal: Tensor, filters: Filters, hop: int) -> Tensor:
    """Compute ``|rfft(frames * window)|^2 @ bank``, otherwise like `band_magnitudes`."""
    return _BandSums.apply(signal, filters, hop, True)  # type: ignore[no-any-return]
