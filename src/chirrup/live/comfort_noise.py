"""Comfort noise: a description of the noise in a pause, and a generator of such noise.

The description is the payload of RFC 3389: a byte for the level and a byte for each reflection
coefficient of an all-pole model.
"""

from typing import Final, NamedTuple

import numpy as np

from chirrup.errors import FormatError

ORDER: Final = 8
"""Reflection coefficients of a description, which then has 9 bytes."""
MAX_ORDER: Final = 32
"""Coefficients that are used. Further ones are ignored, as section 3 of the RFC allows."""
WINDOW_S: Final = 0.02
AVERAGE_S: Final = 0.5
"""Time constant of the average over a pause."""
SETTLED_S: Final = 0.1
"""Duration of a pause before it is described."""
CHANGE_DB: Final = 3.0
"""Change of the level after which the noise is described again."""
FADE_IN_S: Final = 0.2
FADE_OUT_S: Final = 0.1
_WHITE: Final = 1e-5
"""White noise that is added to the measured noise, relative to it, for a stable recursion."""
_FLOOR: Final = 10**-12.7
"""Mean square of -127 dB, the lowest level of a description."""


class Noise(NamedTuple):
    """A description.

    Attributes:
        level_db: level relative to a full-scale square wave (dBov), 0 to -127.
        reflection: reflection coefficients ``float64 [order]``, between -1 and 1.
    """

    level_db: int
    reflection: np.ndarray

    def pack(self) -> bytes:
        """Return the payload of RFC 3389."""
        indices = 127 + np.rint(self.reflection * 32_768 / 258).astype(int).clip(-127, 127)
        return bytes([-self.level_db, *indices.tolist()])


def unpack_noise(payload: bytes) -> Noise:
    """Unpack a payload of RFC 3389.

    Raises:
        FormatError: the payload is empty, or a byte is out of range.
    """
    if not payload:
        raise FormatError("a description of noise is empty", 0)
    if payload[0] > 127:
        raise FormatError(f"the level of noise is byte {payload[0]}, more than 127", 0)
    indices = np.frombuffer(payload, np.uint8, offset=1)[:MAX_ORDER].astype(float)
    if (reserved := np.flatnonzero(indices == 255)).size:
        raise FormatError("a reflection coefficient is byte 255", 1 + int(reserved[0]))
    return Noise(-payload[0], 258 * (indices - 127) / 32_768)


class NoiseDescriber:
    """The sender's end: it measures the noise in pauses. It belongs to one thread at a time.

    >>> active = activity.push(samples)
    >>> description = describer.push(samples, active)

    Args:
        rate_hz: sample rate, which the receiver has to use too.
    """

    def __init__(self, rate_hz: int) -> None:
        self._size = 2 * round(WINDOW_S * rate_hz / 2)
        self._hop_s = self._size / rate_hz
        window = np.hanning(self._size + 1)[:-1]
        self._window = window / np.sqrt(np.sum(window**2))
        self._waiting = np.zeros(0)
        self._correlation = np.zeros(ORDER + 1)
        self._pause_s = self._seen_s = 0.0
        self._described_db: int | None = None

    @property
    def latest(self) -> bytes | None:
        """The description of the noise so far, which a sender may repeat; None before a pause."""
        if not self._seen_s:
            return None
        return Noise(self._level_db(), reflection_of(self._correlation)).pack()

    def push(self, samples: np.ndarray, active: bool) -> bytes | None:
        """Take the next samples.

        Args:
            samples: ``float32 [any number of samples]``.
            active: whether they contain voice, as `VoiceActivity.push` returned.

        Returns:
            A description to send, 0.1 s after the beginning of a pause and when the level has
            changed by 3 dB; else None.
        """
        if active:
            self._waiting, self._pause_s, self._described_db = self._waiting[:0], 0.0, None
            return None
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) >= self._size:
            self._measure(self._waiting[: self._size])
            self._waiting = self._waiting[self._size :]
        if self._pause_s < SETTLED_S:
            return None
        level_db = self._level_db()
        if self._described_db is not None and abs(level_db - self._described_db) < CHANGE_DB:
            return None
        self._described_db = level_db
        return self.latest

    def _measure(self, block: np.ndarray) -> None:
        windowed = block * self._window
        lags = [windowed[lag:] @ windowed[: self._size - lag] for lag in range(ORDER + 1)]
        self._pause_s += self._hop_s
        self._seen_s += self._hop_s
        share = self._hop_s / min(AVERAGE_S, self._seen_s)
        self._correlation += share * (np.array(lags) - self._correlation)

    def _level_db(self) -> int:
        power = float(self._correlation[0])
        return round(float(np.clip(10 * np.log10(max(power, _FLOOR)), -127, 0)))


def reflection_of(correlation: np.ndarray) -> np.ndarray:
    """Return the reflection coefficients ``[order]`` of an autocorrelation ``[order + 1]``.

    This is the Levinson-Durbin recursion. A coefficient is the last one of the prediction error
    filter ``1 + a[1] z^-1 + ... + a[n] z^-n`` of its order.
    """
    error = correlation[0] * (1 + _WHITE) + _FLOOR
    filtered, reflection = np.ones(1), []
    for order in range(1, len(correlation)):
        k = float(-(filtered @ correlation[order:0:-1]) / error)
        filtered = _next_order(filtered, k)
        error *= 1 - k * k
        reflection.append(k)
    return np.array(reflection)


def _next_order(filtered: np.ndarray, k: float) -> np.ndarray:
    """Return the prediction error filter of the next order."""
    longer = np.append(filtered, 0.0)
    return longer + k * longer[::-1]


class ComfortNoise:
    """The receiver's end: a generator of noise, to be added to the output of the decoder.

    The noise is synthesised in overlapping blocks, so a new description changes it gradually. It
    belongs to one thread at a time.

    >>> noise.describe(payload)
    >>> audio = playout.pull(now_s)
    >>> audio = audio + noise.pull(len(audio), in_pause)

    Args:
        rate_hz: sample rate of the output and of the description.
        seed: seed of the noise.
    """

    def __init__(self, rate_hz: int, *, seed: int = 0) -> None:
        self._rate_hz, self._random = rate_hz, np.random.default_rng(seed)
        self._hop = round(WINDOW_S * rate_hz / 2)
        self._window = np.sin(np.pi * (np.arange(2 * self._hop) + 0.5) / (2 * self._hop))
        self._tail = np.zeros(self._hop)  # the second half of the last block
        self._ready = np.zeros(0)
        self._shape: np.ndarray | None = None  # magnitudes [frequencies]
        self._gain = 0.0

    def describe(self, payload: bytes) -> None:
        """Use a description from now on.

        Raises:
            FormatError: the payload is malformed. The noise has not changed.
        """
        noise, filtered = unpack_noise(payload), np.ones(1)
        for k in noise.reflection:
            filtered = _next_order(filtered, k)
        shape = 1 / np.abs(np.fft.rfft(filtered, 2 * self._hop)).clip(1e-6)
        shape[0] = 0.0  # no offset
        level = 0.0 if noise.level_db == -127 else 10 ** (noise.level_db / 20)
        self._shape = shape * level / np.sqrt(np.mean(np.append(shape, shape[1:-1]) ** 2))

    def pull(self, samples: int, on: bool) -> np.ndarray:
        """Return the next samples of noise.

        Args:
            samples: number of samples.
            on: whether the stream pauses. The noise fades in from the first tick of a pause, as the
                decoder fades out, and fades out from the first packet after it.

        Returns:
            ``float32 [samples]``: zeros before the first description and between pauses.
        """
        if self._shape is None or not (on or self._gain):
            return np.zeros(samples, np.float32)
        while len(self._ready) < samples:
            self._ready = np.append(self._ready, self._block(self._shape))
        noise, self._ready = self._ready[:samples], self._ready[samples:]
        seconds = np.arange(1, samples + 1) / self._rate_hz
        steps = seconds / FADE_IN_S if on else -seconds / FADE_OUT_S
        gains = np.clip(self._gain + steps, 0, 1)
        self._gain = float(gains[-1]) if samples else self._gain
        return (noise * gains).astype(np.float32)

    def _block(self, shape: np.ndarray) -> np.ndarray:
        """Overlap and add a block of shaped white noise; return the part that is complete."""
        white = np.fft.rfft(self._random.standard_normal(2 * self._hop))
        block = np.fft.irfft(white * shape, 2 * self._hop) * self._window
        done, self._tail = self._tail + block[: self._hop], block[self._hop :]
        return done
