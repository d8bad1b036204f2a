"""Room responses and mixtures: operations on batches of audio, for training and validation."""

import torch
from torch import Tensor

EARLY_MS = 50
"""Part of a room response that a dry target keeps (LRAC challenge, track 2)."""


def power(audio: Tensor) -> Tensor:
    """Return the mean square of each row of ``[batch, ..., samples]``, its channels included.

    The result has one element a row and broadcasts against ``audio``.
    """
    return audio.square().mean(tuple(range(1, audio.ndim)), keepdim=True)


def from_direct_path(response: Tensor) -> Tensor:
    """Remove the samples before the direct sound from a room response ``[taps]``."""
    return response[int(response.abs().argmax()) :]


def reverberate(speech: Tensor, responses: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Convolve speech with room responses.

    Args:
        speech: ``[batch, samples]`` or ``[batch, channels, samples]``.
        responses: room responses that begin with the direct sound, ``[batch, taps]`` or
            ``[batch, 1, taps]``.

    Returns:
        The speech with the whole response, and with its first `EARLY_MS` only. Both have the length
        and the power of ``speech``.
    """
    early = responses.clone()
    early[..., sample_rate_hz * EARLY_MS // 1000 :] = 0
    size = speech.shape[-1] + responses.shape[-1]
    spectrum = torch.fft.rfft(speech, size)
    level = power(speech)
    wet = []
    for response in (responses, early):
        convolved = torch.fft.irfft(spectrum * torch.fft.rfft(response, size), size)
        convolved = convolved[..., : speech.shape[-1]]
        wet.append(convolved * (level / power(convolved).clamp(min=1e-9)).sqrt())
    return wet[0], wet[1]


def mix(speech: Tensor, other: Tensor, ratio_db: Tensor) -> Tensor:
    """Add ``other`` at ``ratio_db [batch, 1, ...]`` below the power of ``speech``."""
    level, other_level = (power(x).clamp(min=1e-8).sqrt() for x in (speech, other))
    return speech + other * (level / other_level) * 10 ** (-ratio_db / 20)
