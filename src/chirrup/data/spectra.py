"""Spectra of recordings, in which their quality is estimated."""

import numpy as np

WINDOW_S, HOP_S = 0.032, 0.016


def spectrum(
    mono: np.ndarray, rate_hz: int, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> tuple[np.ndarray, np.ndarray]:
    """Power ``[frames, bins]``, whose sum over bins is a frame's mean power, and the bins in Hz."""
    size, hop = round(window_s * rate_hz), round(hop_s * rate_hz)
    if len(mono) < size:
        mono = np.pad(mono, (0, size - len(mono)))
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1))).astype(np.float32)
    power *= 2 / (np.square(window).sum() * size)
    power[:, 0] /= 2
    return power, np.fft.rfftfreq(size, 1 / rate_hz)


def db(power: np.ndarray | float) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-20))
