"""Repetition of high frequencies from frame to frame.

A decoder can give every frame the same pattern of phases, which is audible as a buzz. Losses of
magnitudes do not register it, and a discriminator learns it late. The metric `repetition` of
`chirrup.evaluate` measures it in whole signals.
"""

import torch
from torch import Tensor

from chirrup.lab.training.losses.stft import stft

LOWEST_HZ = 3000.0
WINDOW_S, HOP_S = 0.02, 0.01
LAGS = (2, 4, 8)
"""Lags in hops. Windows that overlap would be coherent in noise too."""
FLOOR = 1e-4
"""Power added to each bin, relative to white noise of unit power: quieter bins do not count."""


def repetition(estimate: Tensor, target: Tensor, sample_rate_hz: int) -> Tensor:
    """Return by how much clips repeat themselves more than their targets, a scalar from 0 to 1.

    The measure is the squared coherence of the values of a bin with its values 20, 40 and 80 ms
    later, averaged over the bins from 3 kHz on. A clip that repeats itself less than its target
    has no loss. The loss is 0 for clips shorter than 100 ms. Not in a paper.

    Args:
        estimate, target: ``[batch, samples]``.
    """
    window = torch.hann_window(round(WINDOW_S * sample_rate_hz)).to(estimate)
    hop = round(HOP_S * sample_rate_hz)
    lowest = round(LOWEST_HZ * WINDOW_S)
    if estimate.shape[1] < len(window) + max(LAGS) * hop:
        return estimate.new_zeros(())
    made, wanted = (
        squared_coherences(stft(audio, window, hop)[:, :, lowest:]) for audio in (estimate, target)
    )
    return (made - wanted).relu().mean()


def squared_coherences(spectra: Tensor) -> Tensor:
    """Return the mean over bins of ``[batch, frames, bins]`` for each lag, ``[lags, batch]``."""
    found = []
    for lag in LAGS:
        now, later = spectra[:, :-lag], spectra[:, lag:]
        cross = (now.conj() * later).mean(1).abs().square()
        powers = [x.abs().square().mean(1) + FLOOR for x in (now, later)]
        found.append((cross / (powers[0] * powers[1])).mean(1))
    return torch.stack(found)
