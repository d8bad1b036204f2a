"""A slow level control for microphones, before the encoder.

A speech encoder codes quiet speech worse than speech at the level of its training. The gain is not
transmitted: a receiver gets the speech at the new level.
"""

import numpy as np

TARGET_DB = -30.0
"""Level of active speech after the control, RMS relative to full scale."""
LARGEST_GAIN_DB = 40.0
"""Largest gain. The smallest is 0 dB: the control never makes a signal quieter."""
SILENCE_DB = -85.0
"""Blocks below this level do not change the gain."""
ATTACK_SECONDS = 0.1
"""Time constant of a rise of the estimated level."""
RELEASE_SECONDS = 3.0
"""Time constant of a fall of the estimated level in active speech."""
PAUSE_DB = 20.0
"""Blocks that are so far below the estimate count as pauses."""
PAUSE_FALL_DB = 1.0
"""Fall of the estimate in pauses, per second."""
BLOCK_SECONDS = 0.02


class LevelControl:
    """Raise a quiet signal ``float32 [samples]`` slowly to `TARGET_DB`, without latency.

    The level is measured in blocks of 20 ms, without their mean. Within a block, the gain in dB
    changes linearly to the gain of the estimate before the block, so the result does not depend on
    how the stream is cut into pieces.

    >>> level = LevelControl(24_000)
    >>> packets = encoder.push(level.push(samples))
    """

    def __init__(self, rate_hz: int) -> None:
        self.block = max(1, round(BLOCK_SECONDS * rate_hz))
        self.level_db: float | None = None
        self.before_db = self.gain_db = 0.0
        self.waiting = np.zeros(0, np.float64)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Return the next samples at the controlled level, as many as were given."""
        pieces, place = [], 0
        while place < len(samples):
            done = len(self.waiting)
            part = samples[place : place + self.block - done]
            share = (done + 1 + np.arange(len(part))) / self.block
            gains_db = self.before_db + (self.gain_db - self.before_db) * share
            pieces.append((part * 10 ** (gains_db / 20)).astype(np.float32))
            self.waiting = np.concatenate([self.waiting, part])
            if len(self.waiting) == self.block:
                self._update()
            place += len(part)
        return np.concatenate([np.zeros(0, np.float32), *pieces])

    def _update(self) -> None:
        now_db = 20 * np.log10(max(float(self.waiting.std()), 1e-9))
        self.waiting, self.before_db = self.waiting[:0], self.gain_db
        if now_db < SILENCE_DB:
            return
        level_db = now_db if self.level_db is None else self.level_db
        if now_db < level_db - PAUSE_DB:
            level_db -= PAUSE_FALL_DB * BLOCK_SECONDS
        else:
            seconds = ATTACK_SECONDS if now_db > level_db else RELEASE_SECONDS
            level_db += min(1.0, BLOCK_SECONDS / seconds) * (now_db - level_db)
        self.level_db = level_db
        self.gain_db = float(np.clip(TARGET_DB - level_db, 0, LARGEST_GAIN_DB))
