"""A slow level control for microphones, before the encoder.

A speech encoder codes quiet speech worse than speech at the level of its training. The gain is not
transmitted: a receiver gets the speech at the new level.
"""

from typing import Any

import numpy as np

from chirrup.words import counted

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
PEAK = 0.5
"""Largest magnitude to which the control raises a sample."""
BLOCK_SECONDS = 0.02


class LevelControl:
    """Raise a quiet signal slowly to `TARGET_DB`, without latency.

    The level is measured in blocks of 20 ms without their mean, in the loudest channel; all
    channels have the same gain. Within a block, the gain in dB changes linearly to the gain of the
    estimate before the block. A sample that this gain would raise above `PEAK` lowers the gain for
    the rest of the block, and the estimate follows. The result does not depend on how the stream is
    cut into pieces.

    >>> level = LevelControl(24_000)
    >>> packets = encoder.push(level.push(samples))

    Args:
        rate_hz: sample rate.
        channels: number of channels.
    """

    def __init__(self, rate_hz: int, channels: int = 1) -> None:
        self.block = max(1, round(BLOCK_SECONDS * rate_hz))
        self.level_db: float | None = None
        self.before_db = self.gain_db = 0.0
        self.most = np.inf
        """Highest gain for the rest of the block, as a factor."""
        self.waiting = np.zeros((channels, 0), np.float64)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Return the next samples at the controlled level, in the same shape.

        Args:
            samples: ``float32 [samples]`` or ``[channels, samples]``, any number of samples.
        """
        signal = np.atleast_2d(samples)
        pieces, place = [], 0
        while place < signal.shape[1]:
            done = self.waiting.shape[1]
            part = signal[:, place : place + self.block - done]
            pieces.append((part * self._gains(part, done)).astype(np.float32))
            self.waiting = np.concatenate([self.waiting, part], axis=1)
            if self.waiting.shape[1] == self.block:
                self._update()
            place += part.shape[1]
        empty = np.zeros((len(signal), 0), np.float32)
        return np.concatenate([empty, *pieces], axis=1).reshape(samples.shape)

    def _gains(self, part: np.ndarray, done: int) -> np.ndarray:
        """Return the gain of each sample of a part of a block, of which ``done`` came before."""
        share = (done + 1 + np.arange(part.shape[1])) / self.block
        gains = 10 ** ((self.before_db + (self.gain_db - self.before_db) * share) / 20)
        peaks = np.abs(part).max(axis=0)
        most = np.where(peaks * gains > PEAK, np.maximum(1, PEAK / np.maximum(peaks, 1e-9)), np.inf)
        most = np.minimum.accumulate(np.minimum(most, self.most))
        self.most = float(most[-1])
        return np.minimum(gains, most)

    def _update(self) -> None:
        now_db = 20 * np.log10(max(float(self.waiting.std(axis=1).max()), 1e-9))
        end_db, limited = self.gain_db, self.most < 10 ** (self.gain_db / 20)
        if limited:
            end_db = 20 * np.log10(self.most)
        self.waiting, self.before_db, self.most = self.waiting[:, :0], end_db, np.inf
        if now_db < SILENCE_DB:
            return
        level_db = now_db if self.level_db is None else self.level_db
        if limited:
            level_db = max(level_db, TARGET_DB - end_db)
        if now_db < level_db - PAUSE_DB:
            level_db -= PAUSE_FALL_DB * BLOCK_SECONDS
        else:
            seconds = ATTACK_SECONDS if now_db > level_db else RELEASE_SECONDS
            level_db += min(1.0, BLOCK_SECONDS / seconds) * (now_db - level_db)
        self.level_db = level_db
        self.gain_db = float(np.clip(TARGET_DB - level_db, 0, LARGEST_GAIN_DB))

    def save(self) -> dict[str, Any]:
        """Return the state as a dictionary of arrays and numbers."""
        return {
            "block": self.block,
            "known": self.level_db is not None,
            "level_db": self.level_db or 0.0,
            "before_db": self.before_db,
            "gain_db": self.gain_db,
            "most": self.most,
            "waiting": self.waiting.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned.

        Raises:
            ValueError: the state is of another sample rate or number of channels.
        """
        fits = isinstance(saved, dict) and saved.get("block") == self.block
        if not fits or len(saved["waiting"]) != len(self.waiting):
            raise ValueError(
                f"the state is not of a level control of {counted(len(self.waiting), 'channel')} "
                "at this sample rate: pass a state that its save() returned"
            )
        self.level_db = saved["level_db"] if saved["known"] else None
        self.before_db, self.gain_db = saved["before_db"], saved["gain_db"]
        self.most, self.waiting = saved["most"], saved["waiting"].copy()
