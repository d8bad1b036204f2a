"""Pauses of a sender: which packets it leaves out, and the noise that replaces them."""

import numpy as np

from chirrup.live.activity import VoiceActivity
from chirrup.live.comfort_noise import NoiseDescriber


class Pauses:
    """Voice activity and noise of one stream. It belongs to one thread at a time.

    Args:
        rate_hz: sample rate of the samples.
        decoded_rate_hz: sample rate of the decoded audio. If it is another one, the noise is
            described by its level only, because its coefficients depend on the rate.

    Raises:
        ValueError: the rate is too low.

    Attributes:
        paused: whether there was no voice in the last samples.
    """

    def __init__(self, rate_hz: int, decoded_rate_hz: int) -> None:
        self._activity, self._describer = VoiceActivity(rate_hz), NoiseDescriber(rate_hz)
        self._bytes = None if rate_hz == decoded_rate_hz else 1
        self.paused = False

    def push(self, samples: np.ndarray) -> bytes | None:
        """Take samples ``float32 [samples]`` or ``[channels, samples]``.

        Returns:
            A description of the noise to be sent now, or None.
        """
        mono = samples if samples.ndim == 1 else samples.mean(axis=0)
        active = self._activity.push(mono)
        self.paused = not active
        description = self._describer.push(mono, active)
        return None if description is None else description[: self._bytes]

    @property
    def noise(self) -> bytes | None:
        """The description of the noise, to be repeated in a pause; None between pauses."""
        latest = self._describer.latest if self.paused else None
        return None if latest is None else latest[: self._bytes]
