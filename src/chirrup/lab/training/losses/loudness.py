"""Difference of loudness (ITU-R BS.1770-4, annex 1).

The other losses favour decoded audio that is too quiet: a codec of few bits predicts details badly,
and a smaller error results if they are left out.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

BLOCK_S, HOP_S = 0.4, 0.1
GATE = 0.1
"""Blocks below this share of the target's mean power do not count, as with the gate of -10 LU."""
RATE_HZ = 48_000
"""Sample rate of the filters in the recommendation."""
SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def loudness_difference(estimate: Tensor, target: Tensor, sample_rate_hz: int) -> Tensor:
    """Return how much louder or quieter clips are than their targets, in LU, ``[batch]``.

    Args:
        estimate: ``[batch, samples]``.
        target: ``[batch, samples]``. It decides which blocks count, for both.
        sample_rate_hz: at most 48,000 Hz.
    """
    powers = [block_powers(x, sample_rate_hz) for x in (estimate, target)]
    counts = powers[1] >= GATE * powers[1].mean(dim=1, keepdim=True)
    first, second = ((power * counts).sum(dim=1).clamp(min=1e-10) for power in powers)
    return 10 * (first.log10() - second.log10())


def block_powers(audio: Tensor, sample_rate_hz: int) -> Tensor:
    """Return the K-weighted power of blocks of 0.4 s in ``audio [batch, samples]``.

    The blocks are 0.1 s apart. A clip that is shorter has one block.
    """
    samples = audio.shape[1]
    weights = torch.from_numpy(k_weights(samples, sample_rate_hz)).to(audio)
    weighted = torch.fft.irfft(torch.fft.rfft(audio) * weights, n=samples)
    block = min(samples, round(BLOCK_S * sample_rate_hz))
    hop = round(HOP_S * sample_rate_hz)
    return weighted.square().unfold(1, block, hop).mean(dim=2)


@cache
def k_weights(samples: int, sample_rate_hz: int) -> np.ndarray:
    """Return the gains of the K-weighting at the frequencies of ``rfft``, ``float32``."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(samples, 1 / sample_rate_hz) / RATE_HZ)
    response = np.ones_like(z)
    for numerator, denominator in (SHELF, HIGH_PASS):
        response *= np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)
    return np.abs(response).astype(np.float32)
