"""Conditioning of the input of every encoder, for signals, files and live streams.

Encoders are trained with audio within full scale and without an offset. Samples beyond full scale
lower the quality of a recurrent encoder for many seconds. An offset lowers it as long as the offset
lasts. A processor multiplies subnormal numbers several times more slowly than others.
"""

from typing import Any

import numpy as np

LOUDEST = 1.0
"""Full scale. Samples beyond it are limited to it."""
SMALLEST = 1e-15
"""Samples of a smaller magnitude become zero."""
OFFSET_SECONDS = 1.0
"""Time constant of the offset estimate."""
SETTLING_SECONDS = 0.05
"""The estimate begins as the mean of all samples so far and of this duration of silence."""
LARGEST_OFFSET = 0.25
"""Largest magnitude of the estimate. A larger mean comes from a thump or an overload, and would
leave an offset in the speech after it."""
TOLERATED_OFFSET = 0.002
"""Largest offset that is not removed. A signal without an offset is thus not changed, although its
low frequencies move the estimate a little."""


class Conditioner:
    """Remove the offset of a stream, limit its samples to full scale and flush subnormal ones.

    The estimate of the offset is an exponential average of the means of frames. It is interpolated
    linearly between the ends of frames and subtracted. It is updated once a frame, so the result
    does not depend on how the stream is cut into pieces.

    Args:
        channels: number of channels. Each has an estimate.
        frame_samples: samples in a frame at ``rate_hz``.
    """

    def __init__(self, channels: int, frame_samples: int, rate_hz: int) -> None:
        self.frame_samples, self.rate_hz = frame_samples, rate_hz
        self.waiting = np.zeros((channels, 0), np.float32)
        self.seen = 0
        self.offset = np.zeros(channels)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Condition ``float32 [channels, any number of samples]``; return the complete frames."""
        waiting = np.concatenate([self.waiting, samples], axis=1)
        whole = waiting.shape[1] - waiting.shape[1] % self.frame_samples
        self.waiting = waiting[:, whole:].copy()
        return self._conditioned(waiting[:, :whole])

    def finish(self, samples: int) -> np.ndarray:
        """Append ``samples`` of silence, which must complete a frame; return the frames."""
        silence = np.repeat(self.removed[:, None], samples, axis=1)
        return self.push(silence.astype(np.float32))

    @property
    def removed(self) -> np.ndarray:
        """Offset to subtract ``[channels]``: the part of the estimate beyond the tolerated one."""
        return _beyond_tolerated(self.offset)

    def _estimates(self, means: np.ndarray) -> np.ndarray:
        """Return the estimates at the ends of frames ``[channels, frames + 1]``.

        The recurrence is computed with Python's numbers, because arrays of a few channels take
        several times as long.

        Args:
            means: means of the frames ``[channels, frames]``.
        """
        longest, settling = OFFSET_SECONDS * self.rate_hz, SETTLING_SECONDS * self.rate_hz
        seen = self.seen + self.frame_samples * np.arange(1, means.shape[1] + 1)
        shares = (self.frame_samples / np.minimum(longest, settling + seen)).tolist()
        rows = []
        for row, offset in zip(means.tolist(), self.offset.tolist()):
            estimates = [offset]
            for mean, share in zip(row, shares):
                offset += share * (mean - offset)
                offset = max(-LARGEST_OFFSET, min(LARGEST_OFFSET, offset))
                estimates.append(offset)
            rows.append(estimates)
        self.seen += self.frame_samples * means.shape[1]
        result = np.array(rows)
        self.offset = result[:, -1].copy()
        return result

    def _conditioned(self, signal: np.ndarray) -> np.ndarray:
        channels, samples = signal.shape
        frames = signal.reshape(channels, -1, self.frame_samples)
        means = np.clip(frames, -LOUDEST, LOUDEST).astype(np.float64).mean(axis=2)
        ends = _beyond_tolerated(self._estimates(means))[..., None]
        if ends.any():
            place = np.arange(1, self.frame_samples + 1) / self.frame_samples
            offsets = ends[:, :-1] + (ends[:, 1:] - ends[:, :-1]) * place
            frames = frames - offsets.astype(np.float32)
        result = np.clip(frames, -LOUDEST, LOUDEST).reshape(channels, samples)
        result[np.abs(result) < SMALLEST] = 0
        return result

    def save(self) -> dict[str, Any]:
        """Return the state as arrays and numbers."""
        return {"waiting": self.waiting.copy(), "seen": self.seen, "offset": self.offset.copy()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned."""
        self.waiting, self.seen = saved["waiting"].copy(), saved["seen"]
        self.offset = saved["offset"].copy()


def _beyond_tolerated(offset: np.ndarray) -> np.ndarray:
    return offset - np.clip(offset, -TOLERATED_OFFSET, TOLERATED_OFFSET)
