"""What every sample passes before an encoder: one place for signals, files and live streams.

Encoders are trained with speech or music within full scale that has no offset. Samples beyond full
scale upset a recurrent encoder for many seconds, an offset costs quality as long as it lasts, and
subnormal numbers take a processor several times as long to multiply.
"""

from typing import Any

import numpy as np

LOUDEST = 1.0
"""Full scale. Samples beyond it are limited to it."""
SMALLEST = 1e-15
"""Samples closer to zero become zero."""
OFFSET_SECONDS = 1.0
"""Time constant of the estimate of the offset."""
SETTLING_SECONDS = 0.05
"""The estimate begins as the mean of this much silence and all samples so far."""
LARGEST_OFFSET = 0.25
"""The estimate goes no further. More is a thump or an overload, which would leave an offset in the
speech that follows."""
TOLERATED_OFFSET = 0.002
"""An offset up to this stays. The codes of a signal without an offset are then those of the signal
itself, although low frequencies move the estimate a little."""


class Conditioner:
    """Remove the offset of a stream of samples, limit them to full scale, flush subnormal ones.

    The estimate of the offset is an exponential average of the means of frames; it is subtracted
    with linear interpolation between the ends of frames. Its steps are those of frames, so that
    the result does not depend on the pieces in which samples come.

    Args:
        channels: channels of the signal, each with its own offset.
        frame_samples: samples a frame at ``rate_hz``.
    """

    def __init__(self, channels: int, frame_samples: int, rate_hz: int) -> None:
        self.frame_samples, self.rate_hz = frame_samples, rate_hz
        self.waiting = np.zeros((channels, 0), np.float32)
        self.seen = 0
        self.offset = np.zeros(channels)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take in ``float32 [channels, any number]``; return all whole frames that are ready."""
        waiting = np.concatenate([self.waiting, samples], axis=1)
        whole = waiting.shape[1] - waiting.shape[1] % self.frame_samples
        self.waiting = waiting[:, whole:].copy()
        return self._conditioned(waiting[:, :whole])

    def finish(self, samples: int) -> np.ndarray:
        """Add ``samples`` of silence; return all frames, which are then whole."""
        silence = np.repeat(self.removed[:, None], samples, axis=1)
        return self.push(silence.astype(np.float32))

    @property
    def removed(self) -> np.ndarray:
        """The offset to subtract ``[channels]``: what the estimate exceeds the tolerated one by."""
        return self.offset - np.clip(self.offset, -TOLERATED_OFFSET, TOLERATED_OFFSET)

    def _conditioned(self, signal: np.ndarray) -> np.ndarray:
        channels, samples = signal.shape
        frames = signal.reshape(channels, -1, self.frame_samples)
        means = np.clip(frames, -LOUDEST, LOUDEST).astype(np.float64).mean(axis=2)
        removed = [self.removed]
        longest, settling = OFFSET_SECONDS * self.rate_hz, SETTLING_SECONDS * self.rate_hz
        for mean in means.T:
            self.seen += self.frame_samples
            share = self.frame_samples / min(longest, settling + self.seen)
            offset = self.offset + share * (mean - self.offset)
            self.offset = offset.clip(-LARGEST_OFFSET, LARGEST_OFFSET)
            removed.append(self.removed)
        ends = np.stack(removed, axis=1)[..., None]
        if ends.any():
            place = np.arange(1, self.frame_samples + 1) / self.frame_samples
            offsets = ends[:, :-1] + (ends[:, 1:] - ends[:, :-1]) * place
            frames = frames - offsets.astype(np.float32)
        result = np.clip(frames, -LOUDEST, LOUDEST).reshape(channels, samples)
        result[np.abs(result) < SMALLEST] = 0
        return result

    def save(self) -> dict[str, Any]:
        """The state as arrays and numbers."""
        return {"waiting": self.waiting.copy(), "seen": self.seen, "offset": self.offset.copy()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` gave."""
        self.waiting, self.seen = saved["waiting"].copy(), saved["seen"]
        self.offset = saved["offset"].copy()
