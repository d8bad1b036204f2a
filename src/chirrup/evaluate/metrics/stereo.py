"""Stereo metrics: errors of the differences between left and right.

Both metrics compare the reference and the decoded signal in bands of short frames, a third of an
octave wide. Other metrics measure each channel alone.
"""

import numpy as np

from chirrup.evaluate.metrics.metric import BLANK, Metric, is_silent

WINDOW_MS = 40
RANGE_DB = 40.0
"""Bands that are more than this below the reference's loudest one do not count."""
PHASE_HIGHEST_HZ = 1500.0
"""Limit of the phase differences. Above it, listeners do not perceive the phase of a tone."""


def ipd_error(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Error of the inter-channel phase difference in degrees.

    The error of a band of a frame is the angle between two cross spectra (left times conjugate
    right, summed over the band), of the reference and of the decoded signal. The metric is the mean
    over bands up to 1.5 kHz, weighted by the root of the reference's cross spectrum. If a channel
    of the reference is silent in a band, the band has no weight.

    Rate: the audio's own. Reference: needed. Range: 0 to 180; unrelated channels have a mean of 90.
    If a channel of the decoded signal is silent in a band, the error is 90. Blank: there are not
    two channels, or a channel of the reference is digital silence.
    Source: the definition. arXiv 2508.05207, section 2.2, designs for phase consistency of
    channels, but does not measure it.
    """
    if _is_blank(reference) or any(is_silent(channel) for channel in reference):
        return BLANK
    (left, right), (x, y) = (_spectra(audio, sample_rate_hz) for audio in (reference, decoded))
    bands = _bands(left.shape[1], sample_rate_hz, PHASE_HIGHEST_HZ)
    wanted, got = _sums(left * right.conj(), bands), _sums(x * y.conj(), bands)
    turned = got * wanted.conj()
    degrees = np.where(turned == 0, 90.0, np.abs(np.degrees(np.angle(turned))))
    weight = np.sqrt(np.abs(wanted)) * _loud(left, right, bands)
    return float((degrees * weight).sum() / weight.sum()) if weight.any() else BLANK


def ild_error(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Error of the inter-channel level difference in dB.

    The error of a band of a frame is the absolute difference of two level differences (left over
    right), of the reference and of the decoded signal. The metric is the mean over bands and
    frames. Level differences are limited to 40 dB, because a channel may be silent.

    Rate: the audio's own. Reference: needed. Range: 0 to 80. Blank: there are not two channels, or
    the reference is digital silence.
    Source: the definition. Parametric stereo uses this cue in such bands (Breebaart et al., EURASIP
    JASP 2005).
    """
    if _is_blank(reference) or is_silent(reference):
        return BLANK
    pairs = [_spectra(audio, sample_rate_hz) for audio in (reference, decoded)]
    bands = _bands(pairs[0].shape[2], sample_rate_hz, sample_rate_hz / 2)
    levels = []
    for left, right in pairs:
        powers = (_sums(np.square(np.abs(channel)), bands) + 1e-20 for channel in (left, right))
        over, under = powers
        levels.append(np.clip(10 * np.log10(over / under), -RANGE_DB, RANGE_DB))
    loud = _loud(pairs[0][0], pairs[0][1], bands)
    return float(np.abs(levels[0] - levels[1])[loud].mean())


def _is_blank(audio: np.ndarray) -> bool:
    return audio.ndim != 2 or len(audio) != 2


def _spectra(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return ``[channels, frames, bins]`` of Hann windows of 40 ms, half a window apart."""
    size = 2 * round(sample_rate_hz * WINDOW_MS / 2000)
    hop = size // 2
    padded = np.pad(audio, ((0, 0), (hop, size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    return np.fft.rfft(frames * np.hanning(size + 1)[:-1])


def _bands(bins: int, sample_rate_hz: int, highest_hz: float) -> np.ndarray:
    """Return the first bin of each band, and the end of the last one.

    The bands are a third of an octave wide, or one bin if that is wider, and begin at 50 Hz.
    """
    edges_hz = 50 * 2 ** (np.arange(0, 40) / 3)
    edges = np.round(edges_hz / (sample_rate_hz / 2) * (bins - 1)).astype(int)
    last = min(bins, 1 + int(highest_hz / (sample_rate_hz / 2) * (bins - 1)))
    return np.unique(np.append(edges[(edges > 0) & (edges < last)], last))


def _sums(values: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Sum ``[frames, bins]`` over each band."""
    return np.add.reduceat(values[:, : bands[-1]], bands[:-1], axis=1)


def _loud(left: np.ndarray, right: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Return the bands that count, ``bool [frames, bands]``."""
    power = _sums(np.square(np.abs(left)) + np.square(np.abs(right)), bands)
    return (power > power.max() * 10 ** (-RANGE_DB / 10)) & (power > 0)


IPD = Metric("ipd_error", "IPD error", "°", "lower", 1, None, True, 0, 180, ipd_error, True)
ILD = Metric("ild_error", "ILD error", "dB", "lower", 1, None, True, 0, 80, ild_error, True)
METRICS = (IPD, ILD)
