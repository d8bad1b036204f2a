"""Pitch of speech by YIN (de Cheveigné and Kawahara, 2002, doi 10.1121/1.1458024), as a target."""

import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab.nn.harmonic_noise import HIGHEST_HZ, LOWEST_HZ, PITCHES, pitch_index

WINDOW_SECONDS = 0.03
PERIODIC = 0.15
"""A frame is voiced if YIN's normalised difference function, 1 in noise, falls below this."""
SPREAD = 4.0
"""Standard deviation of a target around the pitch, in pitches: two thirds of a semitone. A frame
trains the scores of neighbouring pitches too."""


@torch.no_grad()
def pitch(audio: Tensor, sample_rate_hz: int, frame_samples: int) -> Tensor:
    """Estimate the pitch in Hz at the end of each frame, ``[batch, frames]``; 0 if unvoiced.

    Args:
        audio: ``[batch, samples]``, a whole number of frames; zeros follow it.
    """
    window = round(WINDOW_SECONDS * sample_rate_hz)
    longest = int(sample_rate_hz / LOWEST_HZ) + 2
    whole = window + longest
    padded = F.pad(audio, (whole // 2, whole))[:, frame_samples:]
    frames = padded.unfold(1, whole, frame_samples)[:, : audio.shape[1] // frame_samples]
    size = 1 << (whole + window - 1).bit_length()
    spectrum = torch.fft.rfft(frames, size)
    shared = torch.fft.irfft(spectrum * torch.fft.rfft(frames[:, :, :window], size).conj(), size)
    sums = F.pad(frames.square().cumsum(2), (1, 0))
    energy = sums[:, :, window:] - sums[:, :, :-window]
    difference = energy[:, :, :1] + energy - 2 * shared[:, :, : longest + 1]
    lags = torch.arange(1, longest + 1, device=audio.device)
    difference = difference[:, :, 1:].clamp(min=0)
    dips = difference * lags / difference.cumsum(2).clamp(min=1e-9)
    shortest = int(sample_rate_hz / HIGHEST_HZ)
    before, here, after = (dips[:, :, at : longest - 2 + at] for at in range(3))
    good = (here < PERIODIC) & (here <= before) & (here < after) & (lags[1:-1] >= shortest)
    first = good.float().argmax(dim=2, keepdim=True)
    left, middle, right = (values.gather(2, first) for values in (before, here, after))
    offset = 0.5 * (left - right) / (left - 2 * middle + right).clamp(min=1e-9)
    lag = lags[1:-1][first[:, :, 0]] + offset[:, :, 0].clamp(-0.5, 0.5)
    return torch.where(good.any(dim=2), sample_rate_hz / lag, 0.0)


def with_pitch(scores: Tensor, pitch_hz: Tensor) -> Tensor:
    """Replace the scores of voiced frames by a one at the given pitch.

    Args:
        scores: ``[batch, PITCHES, frames]``.
        pitch_hz: ``[batch, frames]``, 0 if unvoiced.
    """
    place = pitch_index(pitch_hz.clamp(LOWEST_HZ, HIGHEST_HZ)).round().long()
    known = F.one_hot(place, PITCHES).transpose(1, 2).to(scores.dtype)
    return torch.where(_voiced(pitch_hz)[:, None], known, scores)


def pitch_loss(scores: Tensor, pitch_hz: Tensor) -> Tensor:
    """Compute the cross-entropy of pitch scores in nats, the mean over voiced frames.

    Args:
        scores: ``[batch, PITCHES, frames]``.
        pitch_hz: ``[batch, frames]``, 0 if unvoiced.
    """
    voiced = _voiced(pitch_hz)
    place = pitch_index(pitch_hz.clamp(LOWEST_HZ, HIGHEST_HZ))
    distance = torch.arange(PITCHES, device=scores.device)[:, None] - place[:, None]
    target = (-0.5 * (distance / SPREAD).square()).softmax(dim=1)
    each = -(target * scores.float().log_softmax(dim=1)).sum(dim=1)
    return (each * voiced).sum() / voiced.sum().clamp(min=1)


def _voiced(pitch_hz: Tensor) -> Tensor:
    return (pitch_hz > LOWEST_HZ) & (pitch_hz < HIGHEST_HZ)
