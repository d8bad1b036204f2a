"""Spectral metrics: log-spectral distance, by our definition and by TQCodec's, and mel distance.

A log-spectral distance has no standard: FFT size, hop, floor, log base and the split into bands
change the figure. Ours and TQCodec's are declared here, and neither may be compared with figures
of another declaration. All use a periodic Hann window.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from chirrup.evaluate.metrics.metric import BLANK, Metric, is_silent

WINDOW_MS = 1000 * 1024 / 24_000
"""Of our log-spectral distance: 1024 samples at 24 kHz, 2048 at 44.1 and 48 kHz."""
FLOOR = 1e-4
"""80 dB below the loudest bin of the reference."""
SPLIT = 0.5
"""Between low and high, as a part of the band: 6 kHz at 24 kHz, 12 kHz at 48 kHz."""

TQ_WINDOW = 2048
TQ_EPSILON = 1e-8
TQ_SPLIT = 0.75

MEL_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MEL_BANDS = (5, 10, 20, 40, 80, 160, 320)
MEL_FLOOR = 1e-5

_BLOCK_FRAMES = 2048
"""Frames at a time, so that memory does not grow with the clip."""


def lsd(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Log-spectral distance in dB over the whole band: the root mean square over bins of
    20 log10(|S| / |D|), averaged over frames.

    Window: the power of two next to 42.7 ms (1024 samples at 24 kHz, 2048 at 44.1 and 48 kHz),
    hop a quarter of it, only whole windows. Both magnitudes are raised to a floor 80 dB below the
    loudest bin of the reference in the clip.

    Rate: the audio's own. Reference: needed. Range: 0 up to 80 dB and what the decoded signal
    exceeds the reference's loudest bin by. Blank: the reference is digital silence, or shorter
    than a window.
    Source: Gray and Markel, "Distance measures for speech processing", IEEE Trans. ASSP, 1976;
    window, floor and split are ours.
    """
    return _lsd(reference, decoded, sample_rate_hz, lambda bins: slice(None))


def lsd_low(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``lsd`` over the lower half of the band: below 6 kHz at 24 kHz, below 12 kHz at 48 kHz."""
    return _lsd(reference, decoded, sample_rate_hz, lambda bins: slice(0, round(bins * SPLIT)))


def lsd_high(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``lsd`` over the upper half of the band: 6 kHz and up at 24 kHz, 12 kHz and up at 48 kHz.

    PESQ, STOI and the other metrics at 16 kHz hear nothing above 8 kHz; this one does.
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
    """TQCodec's log-spectral distance: log10 of the power, not dB (times 10 it would be dB).

    The root mean square over bins of log10 |S|^2 - log10 |D|^2, averaged over frames. The paper
    gives neither FFT nor floor nor split. Declared here: 2048 samples a window, hop 512, only
    whole windows, 1e-8 added to the power (full scale 1, window not normalised).

    Rate: the audio's own (the paper's: 44.1 kHz). Reference: needed. Range: 0 and up. Blank: the
    reference is digital silence, or shorter than a window.
    Source: TQCodec, section 4.1.
    """
    return _tq_lsd(reference, decoded, slice(None))


def tq_lsd_low(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """``tq_lsd`` over the lower three quarters of the band: below 16.5 kHz at 44.1 kHz.

    That is the core of the paper's subbands, 12 of 16. The split is not printed, but the paper's
    triples (full, low, high) need one: no split below 15.7 kHz can give LSD 0.6716 from 0.5166
    below it and 0.9517 above it.
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
    """The root mean square over bins of the difference of the logs, averaged over frames."""
    pair = (magnitudes(audio, window, window // 4) for audio in (reference, decoded))
    distances = [
        np.sqrt(np.square(log(s[:, use]) - log(d[:, use])).mean(axis=1)) for s, d in zip(*pair)
    ]
    return float(np.concatenate(distances).mean())


def mel_distance(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Multi-scale mel distance: the mean absolute difference of log10 mel magnitudes, summed over
    seven scales with windows of 32 to 2048 samples and 5 to 320 mel bands.

    Hop a quarter of the window, centred windows with reflected edges, Slaney mel bands of unit
    area from 0 Hz to half the rate, magnitudes raised to 1e-5. A gain of 6.02 dB costs
    7 log10(2) = 2.1.

    Rate: the audio's own; figures at different rates do not compare. Reference: needed. Range: 0
    and up. Blank: the reference is digital silence, or shorter than the longest window.
    Source: Kumar et al., "High-fidelity audio compression with improved RVQGAN", NeurIPS 2023,
    section 3.5, and the ``mel/loss`` of its code.
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


def log_mel(mel: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(mel, MEL_FLOOR))


def magnitudes(audio: np.ndarray, window: int, hop: int) -> Iterator[np.ndarray]:
    """Magnitude spectra of all whole windows, as blocks ``[frames, window / 2 + 1]``."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(audio, np.float64), window)[::hop]
    for start in range(0, len(frames), _BLOCK_FRAMES):
        yield np.abs(np.fft.rfft(frames[start : start + _BLOCK_FRAMES] * hann(window)))


@cache
def hann(window: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


@cache
def mel_filters(sample_rate_hz: int, window: int, bands: int) -> np.ndarray:
    """Triangles of unit area on Slaney's mel scale, ``[bands, window / 2 + 1]`` (as in librosa)."""
    bin_hz = np.fft.rfftfreq(window, 1 / sample_rate_hz)
    edge_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(sample_rate_hz / 2), bands + 2))
    rising = (bin_hz - edge_hz[:-2, None]) / np.diff(edge_hz)[:-1, None]
    falling = (edge_hz[2:, None] - bin_hz) / np.diff(edge_hz)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (edge_hz[2:] - edge_hz[:-2]))[:, None]


_LOG_STEP = np.log(6.4) / 27
"""Slaney's scale: linear to 1 kHz, 200 / 3 Hz a mel; from there 27 mels for a factor of 6.4."""


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
)
