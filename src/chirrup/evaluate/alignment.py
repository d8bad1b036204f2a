"""Estimate the delay of a codec from the audio, and remove it.

All clips of a codec at a bitrate share one delay. An estimate for each clip would favour codecs
whose delay varies.
"""

from collections.abc import Iterable

import numpy as np

MAX_DELAY_S = 0.1
KEPT = 0.2
"""Mean correlation of the waveforms above which they determine the delay. On speech, codecs that
preserve the waveform have at least 0.46, and vocoders at most 0.04."""


def correlations(reference: np.ndarray, decoded: np.ndarray, rate_hz: int) -> np.ndarray:
    """Correlate loudness and waveforms at delays from -`MAX_DELAY_S` to `MAX_DELAY_S`.

    Args:
        reference, decoded: ``[channels, samples]``, of any lengths.

    Returns:
        ``[loudness | waveform, 2 * delays + 1]``, for `best_delay`.
    """
    a, b = reference.mean(axis=0), moved(decoded, 0, reference.shape[1]).mean(axis=0)
    farthest = round(MAX_DELAY_S * rate_hz)
    pairs = ((loudness(a, rate_hz), loudness(b, rate_hz)), (a, b))
    return np.stack([_correlation(x, y, farthest) for x, y in pairs])


def best_delay(clips: Iterable[np.ndarray]) -> int:
    """Return the delay in samples from the `correlations` of all clips.

    Waveforms determine it if they agree, as `KEPT` defines; else loudness does.
    """
    loud, waveforms = np.mean(list(clips), axis=0)
    best = waveforms if waveforms.max() > KEPT else loud
    return int(best.argmax()) - len(best) // 2


def moved(decoded: np.ndarray, delay: int, samples: int) -> np.ndarray:
    """Remove a delay in samples, then cut or pad to ``[channels, samples]``."""
    earlier = decoded[:, delay:] if delay >= 0 else np.pad(decoded, ((0, 0), (-delay, 0)))
    return np.pad(earlier, ((0, 0), (0, max(0, samples - earlier.shape[1]))))[:, :samples]


def loudness(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return the loudness over time, which vocoders preserve, unlike the waveform."""
    from scipy.signal import butter, hilbert, sosfiltfilt

    low = butter(2, 60, fs=rate_hz, output="sos")
    pad = min(3 * 5, len(audio) - 1)
    smooth = sosfiltfilt(low, np.abs(np.asarray(hilbert(audio))), padlen=pad)
    result = np.sqrt(np.maximum(smooth, 1e-5))
    return result - result.mean()


def _correlation(a: np.ndarray, b: np.ndarray, farthest: int) -> np.ndarray:
    from scipy.signal import correlate

    a, b = (np.pad(x, (0, max(0, farthest + 1 - len(x)))) for x in (a, b))
    around = correlate(b, a, method="fft")[len(a) - 1 - farthest : len(a) + farthest]
    return around / np.sqrt(np.square(a).sum() * np.square(b).sum() + 1e-12)
