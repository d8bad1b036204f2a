"""Spectra and mel filters for losses and discriminators."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def mel_filterbank(sample_rate_hz: int, n_fft: int, mels: int) -> Tensor:
    """Compute triangular filters of equal area, evenly spaced on Slaney's mel scale.

    They reach to half the sample rate. The scale is linear below 1 kHz (200/3 Hz a mel) and
    logarithmic above (a factor of 6.4 in 27 mels).

    Returns:
        ``[n_fft // 2 + 1, mels]``, to multiply magnitude spectra by.
    """
    knee_hz, knee_mel, log_step = 1000.0, 15.0, torch.log(torch.tensor(6.4)).item() / 27
    top_mel = knee_mel + torch.log(torch.tensor(sample_rate_hz / 2 / knee_hz)).item() / log_step
    edges_mel = torch.linspace(0, top_mel, mels + 2, dtype=torch.float64)
    edges_hz = torch.where(
        edges_mel < knee_mel,
        edges_mel * knee_hz / knee_mel,
        knee_hz * torch.exp(log_step * (edges_mel - knee_mel)),
    )
    bins_hz = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    return (torch.minimum(rising, falling).clamp(min=0) * (2 / (high - low))).float()


def unit_power(window: Tensor) -> Tensor:
    """Scale a window so that white noise of unit variance has unit power in each bin."""
    return window / window.square().sum().sqrt()


def stft(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Compute complex spectra ``[batch, frames, bins]`` of ``[batch, samples]``, without padding.

    The window is scaled to unit power. First gradients exist with respect to ``audio``; second ones
    do not.
    """
    return rfft(windowed_frames(audio, unit_power(window), hop), len(window))


def windowed_frames(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Return windowed frames ``[batch, frames, size]`` inside ``[batch, samples]``.

    First gradients exist with respect to ``audio``; second ones do not.
    """
    return _Frames.apply(audio, window, hop)  # type: ignore[no-any-return]


def rfft(signal: Tensor, size: int) -> Tensor:
    """Compute ``torch.fft.rfft(signal, size)`` with a backward of half the work of PyTorch's.

    First gradients exist; second ones do not.
    """
    return _RealTransform.apply(signal, size)  # type: ignore[no-any-return]


class _RealTransform(torch.autograd.Function):
    """A real transform whose backward is a real transform."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, size: int) -> Tensor:
        ctx.samples, ctx.size = signal.shape[-1], size
        return torch.fft.rfft(signal, size)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_spectrum: Tensor
    ) -> tuple[Tensor | None, ...]:
        # `irfft` counts every bin twice, except the first, and the last of an even size.
        share = torch.full(d_spectrum.shape[-1:], ctx.size / 2, device=d_spectrum.device)
        share[0] = ctx.size
        if ctx.size % 2 == 0:
            share[-1] = ctx.size
        gradient = torch.fft.irfft(d_spectrum * share, ctx.size)[..., : ctx.samples]
        return F.pad(gradient, (0, ctx.samples - gradient.shape[-1])), None


class _Frames(torch.autograd.Function):
    """Windowed frames. The backward adds whole hops, because the backward of ``unfold`` is slow."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, window: Tensor, hop: int) -> Tensor:
        ctx.save_for_backward(window)
        ctx.hop, ctx.shape = hop, audio.shape
        return audio.unfold(1, len(window), hop) * window

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_frames: Tensor
    ) -> tuple[Tensor | None, ...]:
        (window,) = ctx.saved_tensors
        size, hop, frames = len(window), ctx.hop, d_frames * window
        if size % hop:
            return torch.ops.aten.unfold_backward(frames, ctx.shape, 1, size, hop), None, None
        count, pieces = frames.shape[1], frames.unflatten(2, (size // hop, hop))
        gradient = frames.new_zeros(ctx.shape)
        covered = gradient[:, : size + (count - 1) * hop].unflatten(1, (-1, hop))
        for index in range(size // hop):
            covered[:, index : index + count] += pieces[:, :, index]
        return gradient, None, None
