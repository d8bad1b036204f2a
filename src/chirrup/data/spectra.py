"""Power spectra, from which the quality of recordings is estimated."""

from collections.abc import Iterator

import numpy as np

WINDOW_S, HOP_S = 0.032, 0.016
BLOCK_FRAMES = 1024


def spectrum(
    mono: np.ndarray, rate_hz: int, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> tuple[Iterator[np.ndarray], np.ndarray]:
    """Compute a power spectrogram in blocks. A whole one of an hour takes gigabytes.

    Args:
        mono: ``float32 [samples]``.
        rate_hz: sample rate.
        window_s: length of the Hann window.
        hop_s: hop.

    Returns:
        Blocks of up to `BLOCK_FRAMES` frames, and the frequencies of the bins in Hz. A block is the
        power ``[frames, bins]``, whose sum over bins is the mean power of a frame.
    """
    size, hop = round(window_s * rate_hz), round(hop_s * rate_hz)
    if len(mono) < size:
        mono = np.pad(mono, (0, size - len(mono)))
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[::hop]

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(frames), BLOCK_FRAMES):
            windows = frames[start : start + BLOCK_FRAMES] * window
            power = np.square(np.abs(np.fft.rfft(windows, axis=1))).astype(np.float32)
            power *= 2 / (np.square(window).sum() * size)
            power[:, 0] /= 2
            yield power

    return blocks(), np.fft.rfftfreq(size, 1 / rate_hz)


def db(power: np.ndarray | float) -> np.ndarray:
    """Convert power to dB, at least -200 dB."""
    return 10 * np.log10(np.maximum(power, 1e-20))
