"""The matrices of Fourier transforms, made when a model is loaded: they would be a good part of its
file, and are the same in every model."""

import numpy as np

SMALLEST = 1 << 12
"""Matrices of fewer elements may as well be stored."""


KINDS = ("cosines", "sines", "inverse cosines", "inverse sines")


def dft_matrix(kind: str, n_fft: int) -> np.ndarray:
    """One of the four matrices over half a period that transforms of real signals are made of, as
    ``float32``; cosines are even in time, and sines odd.

    - ``cosines``, ``sines``: to multiply samples by, ``[time, bins]``, time from 0 to half of
      ``n_fft``; without its ends for sines, which are zero there.
    - ``inverse cosines``, ``inverse sines``: to multiply bins by, ``[bins, time]``.
    """
    half = n_fft // 2
    table = (np.cos if kind.endswith("cosines") else np.sin)(2 * np.pi / n_fft * np.arange(n_fft))
    steps, matrix = np.arange(half + 1), np.empty((half + 1, half + 1), np.float32)
    for row in range(half + 1):
        wave = table[row * steps % n_fft]
        if kind.startswith("inverse"):
            wave *= (1 if row in (0, half) else 2) / n_fft
        matrix[row] = -wave if kind == "sines" else wave
    return matrix[1:-1] if kind == "sines" else matrix


def identify_dft(array: np.ndarray) -> tuple[str, int] | None:
    """Kind and ``n_fft`` if it is exactly one of those."""
    if array.ndim != 2 or array.size < SMALLEST or array.dtype != np.float32:
        return None
    n_fft = 2 * (array.shape[1] - 1)
    if array.shape[1] - array.shape[0] not in (0, 2):
        return None
    for kind in KINDS:
        if np.array_equal(dft_matrix(kind, n_fft), array):
            return kind, n_fft
    return None
