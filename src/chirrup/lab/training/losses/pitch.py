"""The pitch of speech, for a model to learn: YIN (de Cheveigné and Kawahara, 2002)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab.nn.harmonic_noise import HIGHEST_HZ, LOWEST_HZ, PITCHES, pitch_index

WINDOW_SECONDS = 0.03
PERIODIC = 0.15
"""The dip of YIN's difference function, 1 in noise, below which a frame has a pitch."""
SPREAD = 4.0
"""Of a target's Gaussian around the pitch, in pitches: two thirds of a semitone, so that few frames
teach many scores."""


@torch.no_grad()
def pitch(audio: Tensor, sample_rate_hz: int, frame_samples: int) -> Tensor:
    """Frequencies in Hz at the end of each frame, ``[batch, frames]``; 0 where there is none.

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
    """Scores ``[batch, PITCHES, frames]`` of which the highest is at frequencies ``[batch,
    frames]``, where a frame has one."""
    place = pitch_index(pitch_hz.clamp(LOWEST_HZ, HIGHEST_HZ)).round().long()
    known = F.one_hot(place, PITCHES).transpose(1, 2).to(scores.dtype)
    return torch.where(_voiced(pitch_hz)[:, None], known, scores)


def pitch_loss(scores: Tensor, pitch_hz: Tensor) -> Tensor:
    """Cross-entropy in nats of the pitches' scores ``[batch, PITCHES, frames]`` against frequencies
    ``[batch, frames]``, as the mean over frames that have one."""
    voiced = _voiced(pitch_hz)
    place = pitch_index(pitch_hz.clamp(LOWEST_HZ, HIGHEST_HZ))
    distance = torch.arange(PITCHES, device=scores.device)[:, None] - place[:, None]
    target = (-0.5 * (distance / SPREAD).square()).softmax(dim=1)
    each = -(target * scores.float().log_softmax(dim=1)).sum(dim=1)
    return (each * voiced).sum() / voiced.sum().clamp(min=1)


def _voiced(pitch_hz: Tensor) -> Tensor:
    return (pitch_hz > LOWEST_HZ) & (pitch_hz < HIGHEST_HZ)
