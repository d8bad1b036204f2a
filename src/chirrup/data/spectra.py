"""Power spectra, from which the quality of recordings is estimated."""

import numpy as np

WINDOW_S, HOP_S = 0.032, 0.016


def spectrum(
    mono: np.ndarray, rate_hz: int, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> tuple[np.ndarray, np.ndarray]:
    """Compute a power spectrogram.

    Args:
        mono: ``float32 [samples]``.
        rate_hz: sample rate.
        window_s: length of the Hann window.
        hop_s: hop.

    Returns:
        Power ``[frames, bins]``, whose sum over bins is the mean power of a frame, and the
        frequencies of the bins in Hz.
    """
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
    """Convert power to dB, at least -200 dB."""
    return 10 * np.log10(np.maximum(power, 1e-20))
