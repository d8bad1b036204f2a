"""Spectral metrics: log-spectral distance as defined by us and by TQCodec, mel distance, and the
repetition of high frequencies.

Log-spectral distance has no standard: FFT size, hop, floor, base of the logarithm and split into
bands change its value. Both definitions are stated here. Do not compare values of different
definitions. All metrics use a periodic Hann window.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from chirrup.evaluate.metrics.metric import BLANK, Metric, is_silent

WINDOW_MS = 1000 * 1024 / 24_000
"""Window of ``lsd``: 1024 samples at 24 kHz, 2048 at 44.1 and 48 kHz."""
FLOOR = 1e-4
"""Floor of the magnitudes, relative to the loudest bin of the reference: -80 dB."""
SPLIT = 0.5
"""Split between low and high, as a share of the band: 6 kHz at 24 kHz, 12 kHz at 48 kHz."""

TQ_WINDOW = 2048
TQ_EPSILON = 1e-8
TQ_SPLIT = 0.75

MEL_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MEL_BANDS = (5, 10, 20, 40, 80, 160, 320)
MEL_FLOOR = 1e-5

REPETITION_HZ = 5000.0
"""Lowest frequency of ``repetition``."""
REPETITION_LAGS_S = (0.01, 0.08)
REPETITION_WINDOW_S = 2**14 / 24_000
REPETITION_FLOOR = 1e-6
"""Power of a decoded signal that counts as silence, relative to the reference's: -60 dB."""

_BLOCK_FRAMES = 2048
"""Frames of a block, so that the memory does not grow with the clip."""


def lsd(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Log-spectral distance in dB over the whole band: the root mean square over bins of
    20 log10(|S| / |D|), averaged over frames.

    The window is the power of two nearest to 42.7 ms (1024 samples at 24 kHz, 2048 at 44.1 and
    48 kHz), the hop is a quarter of it, and all windows are whole. Both magnitudes have a floor
    80 dB below the loudest bin of the reference in the clip.

    Rate: the audio's own. Reference: needed. Range: 0 to 80 dB, or more if the decoded signal is
    louder than the loudest bin of the reference. Blank: the reference is digital silence, or
    shorter than a window.
    Source: Gray and Markel, "Distance measures for speech processing", IEEE Trans. ASSP, 1976;
    window, floor and split are our choice.
    """
    return _lsd(reference, decoded, sample_rate_hz, lambda bins: slice(None))


def lsd_low(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``lsd`` over the lower half of the band: below 6 kHz at 24 kHz, below 12 kHz at 48 kHz."""
    return _lsd(reference, decoded, sample_rate_hz, lambda bins: slice(0, round(bins * SPLIT)))


def lsd_high(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``lsd`` over the upper half of the band: 6 kHz and up at 24 kHz, 12 kHz and up at 48 kHz.

    PESQ, STOI and other metrics at 16 kHz ignore this band.
    """
    return _lsd(reference, decoded, sample_rate_hz, lambda bins: slice(round(bins * SPLIT), None))


def _lsd(
    reference: np.ndarray,
    decoded: np.ndarray,
    sample_rate_hz: int,
    band: Callable[[int], slice],
) -> float:
    window = 2 ** round(np.log2(WINDOW_MS * sample_rate_hz / 1000))
    if is_silent(reference) or len(reference) < window:
        return BLANK
    use = band(window // 2)
    floor = FLOOR * max(block.max() for block in magnitudes(reference, window, window // 4))
    return _mean_over_frames(
        reference, decoded, window, use, lambda x: 20 * np.log10(np.maximum(x, floor))
    )


def tq_lsd(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Log-spectral distance of TQCodec, in log10 of the power (a tenth of dB): the root mean square
    over bins of log10 |S|^2 - log10 |D|^2, averaged over frames.

    The paper states neither FFT nor floor nor split. Here the window has 2048 samples, the hop is
    512, all windows are whole, and 1e-8 is added to the power (full scale is 1, the window is not
    normalised).

    Rate: the audio's own (44.1 kHz in the paper). Reference: needed. Range: from 0. Blank: the
    reference is digital silence, or shorter than a window.
    Source: TQCodec, arXiv 2603.01592, section 4.1.
    """
    return _tq_lsd(reference, decoded, slice(None))


def tq_lsd_low(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``tq_lsd`` over the lower three quarters of the band: below 16.5 kHz at 44.1 kHz.

    These are the 12 core bands of the paper's 16. The paper does not state the split, but its table
    3 limits it: no split below 15.7 kHz yields 0.6716 from 0.5166 below and 0.9517 above it.
    """
    return _tq_lsd(reference, decoded, slice(0, round(TQ_WINDOW // 2 * TQ_SPLIT)))


def tq_lsd_high(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``tq_lsd`` over the upper quarter of the band: 16.5 kHz and up at 44.1 kHz."""
    return _tq_lsd(reference, decoded, slice(round(TQ_WINDOW // 2 * TQ_SPLIT), None))


def _tq_lsd(reference: np.ndarray, decoded: np.ndarray, use: slice) -> float:
    if is_silent(reference) or len(reference) < TQ_WINDOW:
        return BLANK
    return _mean_over_frames(
        reference, decoded, TQ_WINDOW, use, lambda x: np.log10(np.square(x) + TQ_EPSILON)
    )


def _mean_over_frames(
    reference: np.ndarray,
    decoded: np.ndarray,
    window: int,
    use: slice,
    log: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Return the root mean square over bins of the difference of logs, averaged over frames."""
    pair = (magnitudes(audio, window, window // 4) for audio in (reference, decoded))
    distances = [
        np.sqrt(np.square(log(s[:, use]) - log(d[:, use])).mean(axis=1)) for s, d in zip(*pair)
    ]
    return float(np.concatenate(distances).mean())


def mel_distance(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Multi-scale mel distance: the mean absolute difference of log10 mel magnitudes, summed over
    seven scales with windows of 32 to 2048 samples and 5 to 320 mel bands.

    The hop is a quarter of the window. Windows are centred, with reflected edges. Mel bands are
    Slaney's, of unit area, from 0 Hz to half the rate. Magnitudes have a floor of 1e-5. A gain of
    6.02 dB yields 7 log10(2) = 2.1.

    Rate: the audio's own; do not compare values at different rates. Reference: needed. Range: from
    0. Blank: the reference is digital silence, or shorter than the longest window.
    Source: Kumar et al., "High-fidelity audio compression with improved RVQGAN", NeurIPS 2023
    (arXiv 2306.06546), section 3.5, and ``mel/loss`` in its code.
    """
    if is_silent(reference) or len(reference) < MEL_WINDOWS[-1]:
        return BLANK
    total = 0.0
    for window, bands in zip(MEL_WINDOWS, MEL_BANDS, strict=True):
        filters = mel_filters(sample_rate_hz, window, bands).T
        padded = (np.pad(x, window // 2, mode="reflect") for x in (reference, decoded))
        pair = (magnitudes(audio, window, window // 4) for audio in padded)
        sums = [
            (np.abs(log_mel(s @ filters) - log_mel(d @ filters)).sum(), len(s))
            for s, d in zip(*pair)
        ]
        difference, frames = np.sum(sums, axis=0)
        total += difference / frames / bands
    return float(total)


def repetition(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Repetition of high frequencies: by how much the correlation of the decoded signal with itself
    some time later exceeds the reference's, at the lag of 10 to 80 ms with the largest excess.

    Only frequencies from 5 kHz on count. A decoder that gives every frame one pattern of phases
    repeats itself after a frame, which is audible as a buzz. PESQ, ViSQOL and the spectral
    distances do not register it.

    A correlation is the envelope of the inverse Fourier transform of the mean power spectrum
    (Welch's method) of windows of 0.68 s (the nearest power of two; the hop is half a window),
    divided by its value at lag zero and by the correlation of the window. So a tone has 1 at every
    lag, and a tone of the reference that the decoded signal lacks does not count.

    Rate: the audio's own. Reference: needed. Range: 0 to 1; noise without repetitions has 0.01 to
    0.02 in 8 s. Blank: one of the two has nothing from 5 kHz on, or is shorter than a window.
    Source: our choice.
    """
    window = 2 ** round(np.log2(REPETITION_WINDOW_S * sample_rate_hz))
    lowest = round(REPETITION_HZ / sample_rate_hz * window)
    if len(reference) < window or lowest >= window // 2:
        return BLANK
    pair = [_power_spectrum(audio, window, lowest) for audio in (reference, decoded)]
    for spectrum, audio in zip(pair, (reference, decoded), strict=True):
        if spectrum.sum() <= np.finfo(np.float64).eps * np.square(audio).mean() * window:
            return BLANK
    first, last = (round(lag * sample_rate_hz) for lag in REPETITION_LAGS_S)
    whole = np.fft.irfft(np.square(np.abs(np.fft.rfft(hann(window)))))
    least = REPETITION_FLOOR * pair[0].sum() / window
    envelopes = (np.abs(np.fft.ifft(spectrum, window)) for spectrum in pair)  # one-sided spectra
    wanted, made = (found / max(found[0], least) / (whole / whole[0]) for found in envelopes)
    return max(0.0, float((made - wanted)[first : last + 1].max()))


def _power_spectrum(audio: np.ndarray, window: int, lowest: int) -> np.ndarray:
    """Return the mean power spectrum of all whole windows, with zeros below the bin ``lowest``."""
    total, count = np.zeros(window // 2 + 1), 0
    for block in magnitudes(audio, window, window // 2):
        total += np.square(block).sum(axis=0)
        count += len(block)
    total[:lowest] = 0
    return total / count


def log_mel(mel: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(mel, MEL_FLOOR))


def magnitudes(audio: np.ndarray, window: int, hop: int) -> Iterator[np.ndarray]:
    """Yield the magnitude spectra of all whole windows, as blocks ``[frames, window / 2 + 1]``."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(audio, np.float64), window)[::hop]
    for start in range(0, len(frames), _BLOCK_FRAMES):
        yield np.abs(np.fft.rfft(frames[start : start + _BLOCK_FRAMES] * hann(window)))


@cache
def hann(window: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


@cache
def mel_filters(sample_rate_hz: int, window: int, bands: int) -> np.ndarray:
    """Return triangles of unit area on Slaney's mel scale, ``[bands, window / 2 + 1]``."""
    bin_hz = np.fft.rfftfreq(window, 1 / sample_rate_hz)
    edge_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(sample_rate_hz / 2), bands + 2))
    rising = (bin_hz - edge_hz[:-2, None]) / np.diff(edge_hz)[:-1, None]
    falling = (edge_hz[2:, None] - bin_hz) / np.diff(edge_hz)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (edge_hz[2:] - edge_hz[:-2]))[:, None]


_LOG_STEP = np.log(6.4) / 27
"""Slaney's scale has 200 / 3 Hz a mel up to 1 kHz, and 27 mels for each factor of 6.4 above."""


def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else float(15 + np.log(hz / 1000) / _LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(_LOG_STEP * (mel - 15)))


METRICS = (
    Metric("lsd", "LSD", "dB", "lower", 1, None, True, 0, None, lsd),
    Metric("lsd_low", "LSD low", "dB", "lower", 1, None, True, 0, None, lsd_low),
    Metric("lsd_high", "LSD high", "dB", "lower", 1, None, True, 0, None, lsd_high),
    Metric("tq_lsd", "LSD (TQ)", "", "lower", 3, None, True, 0, None, tq_lsd),
    Metric("tq_lsd_low", "LSD-L (TQ)", "", "lower", 3, None, True, 0, None, tq_lsd_low),
    Metric("tq_lsd_high", "LSD-H (TQ)", "", "lower", 3, None, True, 0, None, tq_lsd_high),
    Metric("mel_distance", "mel distance", "", "lower", 2, None, True, 0, None, mel_distance),
    Metric("repetition", "repetition", "", "lower", 2, None, True, 0, 1, repetition),
)
