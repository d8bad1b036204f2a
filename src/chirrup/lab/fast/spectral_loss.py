"""Terms of `SpectralLoss` and their gradients in one pass; see `spectral_loss.cpp`."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.fast.extension import extension
from chirrup.lab.fast.filters import Filters

TERMS = {"mel", "mel_magnitude", "log_mel", "soundstream", "complex", "stft"}
PARTS = {"stft": ("logs", "convergence")}


class _SpectralTerms(torch.autograd.Function):
    """Computes the gradients together with the values, and saves them for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, estimate: Tensor, target: Tensor, scales: list[Filters], names: list[str]
    ) -> Tensor:
        parts = [(name, part) for name in names for part in PARTS.get(name, (name,))]
        estimate, target = estimate.contiguous(), target.contiguous()
        sums = torch.zeros(len(parts), len(estimate), dtype=torch.float64)
        gradients = None
        if ctx.needs_input_grad[0]:
            gradients = estimate.new_zeros(len(parts), *estimate.shape)
            ctx.save_for_backward(gradients)
        for scale in scales:
            factors = [factor(part, scale, estimate) / len(scales) for _, part in parts]
            extension().spectral_terms(
                estimate,
                target,
                scale.window,
                *scale.bands,
                *scale.bins,
                [part for _, part in parts],
                factors,
                sums,
                gradients,
            )
        ctx.owners = torch.tensor([names.index(name) for name, _ in parts])
        values = sums.new_zeros(len(names)).index_add(0, ctx.owners, sums.sum(1))
        return values.to(estimate.dtype)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_values: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        gradient = d_values[ctx.owners] @ gradients.flatten(1)
        return gradient.view(gradients.shape[1:]), None, None, None


def factor(part: str, scale: Filters, audio: Tensor) -> float:
    """Return the factor from a term's sum over clips, frames, and bands or bins to its mean."""
    clips, samples = audio.shape
    if part == "convergence":
        return 1 / clips
    frames = (samples - scale.n_fft) // (scale.n_fft // 4) + 1
    bands, bins = scale.bands.places.shape[1], scale.bins.places.shape[1]
    each = {"complex": 2 * bins, "logs": bins, "mel": math.log(10) * bands}.get(part, bands)
    return 1 / (clips * frames * each)


def spectral_terms(
    estimate: Tensor, target: Tensor, scales: list[Filters], names: list[str]
) -> dict[str, Tensor]:
    """Compute the terms ``names`` of ``TERMS``, each averaged over the scales.

    The hop is a quarter of the window. ``log_mel`` is not yet divided by the mean of its weights.
    The terms can be differentiated once, by ``estimate`` only.

    Args:
        names: terms to compute.
        estimate, target: float32 on the CPU, ``[batch, samples]``.
        scales: windows of unit power and their mel filters.

    Raises:
        ValueError: the shapes differ, or the clips are shorter than a window.
    """
    longest = max(scale.n_fft for scale in scales)
    if estimate.shape != target.shape or estimate.shape[1] < longest:
        raise ValueError(
            f"estimate and target must both be [batch, {longest} samples or more], "
            f"not {list(estimate.shape)} and {list(target.shape)}"
        )
    values = _SpectralTerms.apply(estimate, target.detach(), scales, names)
    return dict(zip(names, values.unbind(), strict=True))  # type: ignore[no-any-return]
