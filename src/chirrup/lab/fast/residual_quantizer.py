"""A residual vector quantizer in one operation; see `residual_quantizer.cpp`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension


class Levels(NamedTuple):
    """Projections and entries of all levels, stacked.

    Attributes:
        w_in, b_in: input projections, ``[levels, code_dim, channels]`` and ``[levels, code_dim]``.
        w_out, b_out: output projections, ``[levels, channels, code_dim]`` and
            ``[levels, channels]``.
        entries: ``[levels, codebook_size, code_dim]``.
        table, offsets: the scores of the codes are ``table @ projected + offsets``. Their shapes
            are ``[levels, codebook_size, code_dim]`` and ``[levels, codebook_size]``. They have no
            gradients.
    """

    w_in: Tensor
    b_in: Tensor
    w_out: Tensor
    b_out: Tensor
    entries: Tensor
    table: Tensor
    offsets: Tensor


class Found(NamedTuple):
    """The result of `residual_quantizer`.

    Attributes:
        latent: masked sum of the levels' outputs, ``[batch, channels, frames]``.
        commitment: mean squared difference of projected residual and entry, ``[levels, batch]``,
            with gradients for the projected residual.
        codebook: equal values with gradients for the entries.
        codes: ``int64 [batch, levels, frames]``.
        projected: projected residuals, ``[levels, batch * frames, code_dim]``, without gradient.
    """

    latent: Tensor
    commitment: Tensor
    codebook: Tensor
    codes: Tensor
    projected: Tensor


class _ResidualQuantizer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, detached: bool, latent: Tensor, mask: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        levels = Levels(*(tensor.contiguous() for tensor in tensors))
        mask = mask.contiguous()
        y, distances, codes, projected, last = extension().residual_quantizer(
            latent.contiguous(),
            *(levels.w_in, levels.b_in, levels.w_out, levels.b_out),
            *(levels.table, levels.offsets, levels.entries, mask),
        )
        ctx.detached = detached
        ctx.save_for_backward(
            *(levels.w_in, levels.w_out, levels.b_out, levels.entries),
            *(mask, codes, projected, last),
        )
        vectors = projected[..., : latent.shape[2]].transpose(2, 3).flatten(1, 2)
        ctx.mark_non_differentiable(codes, vectors)
        return y, distances, distances.clone(), codes, vectors

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor, d_commitment: Tensor, d_codebook: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, ...]:
        gradients = (tensor.contiguous() for tensor in (dy, d_commitment, d_codebook))
        d_latent, *of_levels = extension().residual_quantizer_backward(
            *gradients, *ctx.saved_tensors, ctx.detached
        )
        return (None, d_latent, None, *of_levels, None, None)


def residual_quantizer(
    latent: Tensor, levels: Levels, mask: Tensor, detached: bool = False
) -> Found:
    """Quantize a latent by residual levels. It can be differentiated once.

    Args:
        latent: float32 on the CPU, ``[batch, channels, frames]``.
        levels: projections and entries.
        mask: factor of each level's output in the sum, ``[levels, batch]``.
        detached: whether a level gets no gradient through the residual of the next one.
    """
    return Found(*_ResidualQuantizer.apply(detached, latent, mask, *levels))
