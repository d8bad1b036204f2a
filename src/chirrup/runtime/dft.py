"""Matrices of discrete Fourier transforms, which are computed when a model is loaded.

They are not stored in the weight file, because they would be a large part of it and are the same in
every model.
"""

import numpy as np

SMALLEST = 1 << 12
"""Matrices with fewer elements are stored."""

KINDS = ("cosines", "sines", "inverse cosines", "inverse sines")


def dft_matrix(kind: str, n_fft: int) -> np.ndarray:
    """Return one of the four matrices of the transform of a real signal.

    The matrices cover half a period, because cosines are even in time, and sines are odd.

    Args:
        kind: one of `KINDS`.
        n_fft: length of the transform in samples, an even number.

    Returns:
        ``float32 [time, bins]`` for "cosines" and "sines", which transform samples; ``float32
        [bins, time]`` for the inverse ones, which transform bins. Time is from 0 to ``n_fft / 2``.
        "sines" leaves out both ends, where they are zero.
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
    """Return the kind and ``n_fft`` of an array that equals a matrix of `dft_matrix`, else None."""
    if array.ndim != 2 or array.size < SMALLEST or array.dtype != np.float32:
        return None
    n_fft = 2 * (array.shape[1] - 1)
    if array.shape[1] - array.shape[0] not in (0, 2):
        return None
    for kind in KINDS:
        if np.array_equal(dft_matrix(kind, n_fft), array):
            return kind, n_fft
    return None
