"""Two channels as mid and side: what they share, and what tells them apart."""

from typing import Literal

import numpy as np

Stereo = Literal["separate", "mid-side"]
"""How the two channels of a file are coded."""


def mid_side(audio: np.ndarray) -> np.ndarray:
    """Left and right ``[2, samples]`` to half their sum and half their difference.

    Halves: neither leaves full scale where left and right do not, a model is trained for no more,
    and the mid of two equal channels is the channel.
    """
    left, right = audio
    return np.stack([left + right, left - right]) * np.float32(0.5)


def left_right(audio: np.ndarray) -> np.ndarray:
    """Mid and side ``[2, samples]`` back to left and right."""
    mid, side = audio
    return np.stack([mid + side, mid - side])
