"""Spectra of sources behind filters that change; see `filtered_spectra.cpp`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension
from chirrup.lab.fast.products import product


class _FilteredPieces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, controls: Tensor, sources: Tensor, inverse: Tensor, bf16: bool) -> Tensor:
        controls, sources = controls.contiguous(), sources.contiguous()
        spectra, filters = extension().filtered_spectra(controls, sources)
        ctx.bf16 = bf16
        ctx.save_for_backward(filters, sources, inverse)
        return spectra @ inverse  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        filters, sources, inverse = ctx.saved_tensors
        d_spectra = product(dy, inverse.t(), ctx.bf16).contiguous()
        return extension().filtered_spectra_backward(d_spectra, filters, sources), None, None, None


def filtered_pieces(controls: Tensor, sources: Tensor, inverse: Tensor, bf16: bool) -> Tensor:
    """Filter pieces of sources, each by two filters between which it fades, and sum the sources.

    The last dimension of spectra holds the real parts and then the imaginary parts of all bins. The
    output can be differentiated once, with respect to ``controls``. All tensors are float32.

    Args:
        controls: the logarithms of magnitudes and then the phases of the filters at the ends of
            pieces, ``[batch, sources, pieces + 1, 2 * bins]``.
        sources: spectra of the pieces, first as they fade into the filter at their end and then as
            they fade out of the filter at their beginning,
            ``[2, batch, sources, pieces, 2 * bins]``.
        inverse: the matrix of the inverse transform, ``[2 * bins, samples]``.
        bf16: round the factors of the product in the backward pass to bfloat16.

    Returns:
        ``[batch, pieces, samples]``.
    """
    return _FilteredPieces.apply(controls, sources, inverse, bf16)  # type: ignore[no-any-return]
