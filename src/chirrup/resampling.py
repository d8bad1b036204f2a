"""Resampling of a stream of samples, for signals, files and live streams."""

from collections import deque
from collections.abc import Iterator
from math import gcd
from numbers import Real
from typing import Any

import numpy as np
import soxr

RATES_HZ = (1_000, 1_000_000)
"""Lowest and highest supported sample rate of input and output."""
PAST_SECONDS = 0.2
"""A resampler's output depends on this much of the input, apart from rounding."""


def length_at(samples: int, rate_hz: int, new_rate_hz: int) -> int:
    """Return the number of samples at another rate that cover at least the same time."""
    return -(-samples * new_rate_hz // rate_hz)


def checked_rate(rate_hz: float) -> int:
    """Return a caller's sample rate as an integer.

    Raises:
        ValueError: the rate is out of range.
        TypeError: the rate is not a whole number.
    """
    if not isinstance(rate_hz, Real) or rate_hz % 1 != 0:
        raise TypeError(f"a sample rate must be a whole number, such as 44100; got {rate_hz!r}")
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise ValueError(f"a sample rate of {rate_hz} Hz is not supported: use {low} to {high} Hz")
    return int(rate_hz)


class Resampler:
    """Resample a stream of ``float32 [channels, samples]`` without a delay.

    The output has `length_at` samples. soxr rounds to the nearest length, which can be one sample
    less. A zero is then appended, so that resampling to another rate and back loses no sample.

    The state of soxr's stream cannot be saved. The resampler therefore keeps the last samples of
    the input, and `restore` resamples them again.
    """

    def __init__(self, channels: int, rate_hz: int, new_rate_hz: int) -> None:
        self.channels, self.rate_hz, self.new_rate_hz = channels, rate_hz, new_rate_hz
        self.stream = soxr.ResampleStream(rate_hz, new_rate_hz, channels, dtype="float32")
        self.taken = self.given = 0
        # The shortest input that is a whole number of samples of the output.
        self.step = rate_hz // gcd(rate_hz, new_rate_hz)
        self.past: deque[np.ndarray] = deque()
        self.past_samples = 0
        self.skipped = 0
        self.ready = np.zeros((channels, 0), np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Add samples of the input; return the output that is ready."""
        self._remember(samples)
        ready = np.concatenate([self.ready, self._resampled(samples)], axis=1)
        self.ready = ready[:, :0]
        self.given += ready.shape[1]
        return ready

    def finish(self) -> np.ndarray:
        """Return the rest of the output."""
        end = np.concatenate([self.ready, self._resampled(self.ready[:, :0], last=True)], axis=1)
        missing = length_at(self.taken, self.rate_hz, self.new_rate_hz) - self.given - end.shape[1]
        return np.pad(end, ((0, 0), (0, max(0, missing))))

    def _resampled(self, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        result = self.stream.resample_chunk(np.ascontiguousarray(samples.T), last=last).T
        skipped = min(self.skipped, result.shape[1])
        self.skipped -= skipped
        return result[:, skipped:]

    def _remember(self, samples: np.ndarray) -> None:
        self.taken += samples.shape[1]
        self.past.append(samples)
        self.past_samples += samples.shape[1]
        reach = self.taken - self.given * self.rate_hz // self.new_rate_hz
        needed = reach + self.step + PAST_SECONDS * self.rate_hz
        while self.past_samples - self.past[0].shape[1] >= needed:
            self.past_samples -= self.past.popleft().shape[1]

    def save(self) -> dict[str, Any]:
        """Return the state as arrays and numbers."""
        past = np.concatenate([np.zeros((self.channels, 0), np.float32), *self.past], axis=1)
        return {
            "rate_hz": self.rate_hz,
            "past": past,
            "taken": self.taken,
            "given": self.given,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned. The output differs only by rounding."""
        self.__init__(self.channels, self.rate_hz, self.new_rate_hz)
        past, taken = saved["past"], saved["taken"]
        start = -(-(taken - past.shape[1]) // self.step) * self.step
        past = past[:, start - taken + past.shape[1] :]
        self.taken, self.given = start, saved["given"]
        self.skipped = self.given - start * self.new_rate_hz // self.rate_hz
        self._remember(past)
        self.ready = self._resampled(past)


def resample_blocks(
    blocks: Iterator[np.ndarray], channels: int, rate_hz: int, new_rate_hz: int
) -> Iterator[np.ndarray]:
    """Resample a signal in blocks ``float32 [channels, any number of samples]``."""
    if rate_hz == new_rate_hz:
        yield from blocks
        return
    resampler = Resampler(channels, rate_hz, new_rate_hz)
    yield from map(resampler.push, blocks)
    yield resampler.finish()
