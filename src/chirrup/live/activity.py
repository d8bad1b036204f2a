"""Voice activity detection, so that a sender can leave out the packets of pauses.

The power in bands is compared with a noise floor that follows the minima of each band, as in

- R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
  statistics", IEEE Trans. Speech and Audio Processing 9(5), 2001, and
- J. Sohn, N. S. Kim, W. Sung, "A statistical model-based voice activity detection", IEEE Signal
  Processing Letters 6(1), 1999: the mean log likelihood ratio, here with the maximum likelihood
  estimate of the signal-to-noise ratio.

The hangover depends on the duration of the voice, as in 3GPP TS 26.094 (the detector of AMR).
docs/explanation/pauses.md has measurements.
"""

from collections import deque
from typing import Final

import numpy as np

BLOCK_S: Final = 0.01
"""Time between two decisions. A decision uses the last two blocks."""
BANDS: Final = 16
"""Bands of equal width on the mel scale."""
LOWEST_HZ, HIGHEST_HZ = 100.0, 7000.0
"""Limits of the bands."""
SMOOTHING: Final = 0.7
"""Share of the previous value in the smoothed power, whose minima are the floor."""
PART_BLOCKS, PARTS = 20, 8
"""The minimum is over the last 8 parts of 0.2 s and the present one."""
BIAS: Final = 1.6
"""Mean power of noise relative to its smoothed minimum."""
QUIETEST_DB: Final = -90.0
"""Lowest noise floor, the sum of all bands, relative to full scale."""
START_DB: Final = -55.0
"""Highest noise floor in the first 1.6 s, so that a stream may begin with voice."""
THRESHOLD: Final = 4.0
"""Mean log likelihood ratio above which a block is voice."""
BURST_BLOCKS: Final = 5
"""Blocks of voice in a row after which the hangover is long."""
SHORT_HANGOVER_S: Final = 0.05


class VoiceActivity:
    """A detector for one stream. It belongs to one thread at a time.

    The decisions do not depend on how the stream is cut into pieces. A steady sound counts as noise
    after 1.6 s, also music.

    >>> activity = VoiceActivity(24_000)
    >>> packets = encoder.push(samples)
    >>> if activity.push(samples):
    ...     send(packets)

    Args:
        rate_hz: sample rate, 8000 Hz or more.
        hangover_s: time for which the detector stays active after voice.

    Raises:
        ValueError: the rate is too low.

    Attributes:
        active: the last decision. Before the first one it is True.
    """

    def __init__(self, rate_hz: int, *, hangover_s: float = 0.2) -> None:
        if rate_hz < 8000:
            raise ValueError(f"a sample rate of {rate_hz} Hz is too low: use 8000 Hz or more")
        self.block = round(BLOCK_S * rate_hz)
        self.active = True
        window = np.hanning(2 * self.block + 1)[:-1]
        self._window = window * np.sqrt(1 / (self.block * np.sum(window**2)))  # one-sided power
        frequencies = np.fft.rfftfreq(2 * self.block, 1 / rate_hz)
        mel = np.linspace(_mel(LOWEST_HZ), _mel(min(HIGHEST_HZ, rate_hz / 2)), BANDS + 1)
        self._edges = np.searchsorted(frequencies, 700 * (10 ** (mel / 2595) - 1))
        self._waiting = np.zeros(self.block)  # the previous block, and samples after it
        self._smoothed = np.full(BANDS, np.inf)
        self._lowest = np.full(BANDS, np.inf)
        self._minima = deque([np.full(BANDS, 10 ** (START_DB / 10) / BANDS)] * PARTS, PARTS)
        self._blocks_of_part = self._voiced = self._left = 0
        self._hangovers = round(hangover_s / BLOCK_S), round(SHORT_HANGOVER_S / BLOCK_S)

    def push(self, samples: np.ndarray) -> bool:
        """Take the next samples.

        Args:
            samples: ``float32 [any number of samples]`` with a full scale of 1.

        Returns:
            Whether voice or hangover is in one of the blocks that the samples complete. If they
            complete none, the last decision.
        """
        self._waiting = np.concatenate([self._waiting, samples])
        decisions = []
        while len(self._waiting) >= 2 * self.block:
            decisions.append(self._decide(self._waiting[: 2 * self.block]))
            self._waiting = self._waiting[self.block :]
        if decisions:
            self.active = decisions[-1]
        return any(decisions) if decisions else self.active

    def _decide(self, samples: np.ndarray) -> bool:
        ratio = self._log_likelihood_ratio(samples)
        full, short = self._hangovers
        if ratio > THRESHOLD:
            self._voiced += 1
            self._left = max(self._left, full if self._voiced >= BURST_BLOCKS else short)
            return True
        self._voiced = 0
        self._left -= self._left > 0
        return self._left > 0

    def _log_likelihood_ratio(self, samples: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(samples * self._window)) ** 2
        sums = np.concatenate([[0.0], np.cumsum(spectrum)])[self._edges]
        power = np.diff(sums) + 10 ** (QUIETEST_DB / 10) / BANDS
        before = np.where(np.isinf(self._smoothed), power, self._smoothed)
        self._smoothed = SMOOTHING * before + (1 - SMOOTHING) * power
        self._lowest = np.minimum(self._lowest, self._smoothed)
        floor = BIAS * np.minimum(self._lowest, np.min(self._minima, axis=0))
        self._blocks_of_part += 1
        if self._blocks_of_part == PART_BLOCKS:
            self._minima.append(self._lowest)
            self._lowest, self._blocks_of_part = self._smoothed, 0
        posterior = np.maximum(power / floor, 1)
        return float(np.mean(posterior - np.log(posterior) - 1))


def _mel(frequency_hz: float) -> float:
    return 2595 * np.log10(1 + frequency_hz / 700)
