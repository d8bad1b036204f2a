"""A measure of clicks at the seams of a decoded stream."""

import numpy as np

NEAR_S = 0.01


def roughness(ticks: list[np.ndarray], rate_hz: int) -> np.ndarray:
    """Return the curvature at each seam over the largest one within 10 ms around it.

    Curvature is the second difference of the samples; below 0.001 it is not audible.
    """
    size, near = ticks[0].shape[-1], round(NEAR_S * rate_hz)
    curvature = np.abs(np.diff(np.concatenate(ticks), 2))
    ratios = []
    for seam in range(size - 2, len(curvature) - 2, size):
        around = [*curvature[max(0, seam - near) : seam - 1], *curvature[seam + 3 : seam + near]]
        ratios.append(curvature[seam : seam + 2].max() / max(1e-3, max(around)))
    return np.array(ratios)
