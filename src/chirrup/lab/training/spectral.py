"""Spectral building blocks of losses and discriminators."""

import torch
from torch import Tensor


def mel_filterbank(sample_rate_hz: int, n_fft: int, mels: int) -> Tensor:
    """Triangular filters, equal in area, evenly spaced on Slaney's mel scale up to half the rate.

    Linear below 1 kHz (200/3 Hz a mel), logarithmic above (factor 6.4 in 27 mels).

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


def stft(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Complex spectra ``[batch, frames, bins]`` of ``[batch, samples]``, frames inside the signal.

    Scaled so that white noise of unit variance has unit power in each bin.
    """
    frames = audio.unfold(1, window.shape[0], hop) * window
    return torch.fft.rfft(frames) / window.square().sum().sqrt()
