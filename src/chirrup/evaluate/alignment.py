"""How late a codec's output is, found from the audio alone, and its removal.

One delay for each codec and bitrate, from all clips together: a delay of each clip's own would
flatter codecs that wander.
"""

from collections.abc import Iterable

import numpy as np

MAX_DELAY_S = 0.1
FINE_DELAY_S = 0.001


def correlations(reference: np.ndarray, decoded: np.ndarray, rate_hz: int) -> np.ndarray:
    """Agreement at delays from -`MAX_DELAY_S` to `MAX_DELAY_S`, of loudness and of waveforms.

    Args:
        reference, decoded: ``[channels, samples]``, of any lengths.

    Returns:
        ``[2, 2 * delays + 1]``; sum them over clips for `best_delay`.
    """
    a, b = reference.mean(axis=0), moved(decoded, 0, reference.shape[1]).mean(axis=0)
    farthest = round(MAX_DELAY_S * rate_hz)
    pairs = ((loudness(a, rate_hz), loudness(b, rate_hz)), (a, b))
    return np.stack([_correlation(x, y, farthest) for x, y in pairs])


def best_delay(sums: Iterable[np.ndarray], rate_hz: int) -> int:
    """The delay in samples: where the loudness agrees best, then the waveforms within 1 ms."""
    total = np.sum(list(sums), axis=0)
    farthest, fine = total.shape[1] // 2, round(FINE_DELAY_S * rate_hz)
    start = max(0, int(total[0].argmax()) - fine)
    return start + int(total[1][start : start + 2 * fine + 1].argmax()) - farthest


def moved(decoded: np.ndarray, delay: int, samples: int) -> np.ndarray:
    """``[channels, samples]``: the audio ``delay`` samples earlier, cut, or padded with silence."""
    earlier = decoded[:, delay:] if delay >= 0 else np.pad(decoded, ((0, 0), (-delay, 0)))
    return np.pad(earlier, ((0, 0), (0, max(0, samples - earlier.shape[1]))))[:, :samples]


def loudness(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Loudness over time: what a vocoder keeps, though its waveform is another one."""
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
