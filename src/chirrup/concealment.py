"""Decoding with packet loss concealment.

Signals, files and live streams all decode here. The model conceals lost frames, or the codes of the
frame before are repeated. A long gap fades to silence, and the first frame after the gap returns to
full level.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np

from chirrup.codes import ABSENT
from chirrup.runtime.engine import Engine
from chirrup.spec import ModelSpec

HOLD_SECONDS = 0.1
"""Duration for which a gap is concealed at full level, before it fades."""
FADE_SECONDS = 0.2
"""Duration of the fade from full level to silence."""


class ConcealingDecoder:
    """The decoder of a model, with the state of some streams.

    If ``spec.lost_frames`` is "model", the model decodes absent codes in place of lost frames. If
    it is "repeat", the model decodes the codes of the last frame that arrived, which is better for
    models that were trained little with lost frames.

    Args:
        streams: number of streams that are decoded together.

    Attributes:
        lost: number of frames lost in a row up to now, ``[streams]``.
        last: codes ``[streams, codebooks]`` of the last frame that arrived.
        waiting: codes ``[streams, codebooks, frames]`` of an incomplete chunk.
    """

    def __init__(self, spec: ModelSpec, engine: Engine, streams: int = 1) -> None:
        self.engine = engine
        self.chunk_frames, self.block_frames = spec.chunk_frames, spec.block_frames
        self.frame_samples = spec.frame_samples
        self.shape = (streams, spec.channels)
        self.hold_frames = round(HOLD_SECONDS * spec.frame_rate_hz)
        self.fade_frames = FADE_SECONDS * spec.frame_rate_hz
        self.silent_frames = self.hold_frames + ceil(self.fade_frames)
        self.repeats = spec.lost_frames == "repeat"
        self.last = np.full((streams, spec.codebooks), ABSENT, np.int32)
        self.waiting = np.zeros((streams, spec.codebooks, 0), np.int32)
        self.lost = np.zeros(streams, np.int64)
        self.state = self.engine.initial_state(streams)

    def push(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """Decode ``int32 [streams, codebooks, any number of frames]``.

        Yields:
            ``float32 [streams, channels, samples]`` of all complete chunks.
        """
        codes = np.concatenate([self.waiting, codes], axis=2)
        whole = codes.shape[2] - codes.shape[2] % self.chunk_frames
        for start in range(0, whole, self.block_frames):
            yield from self._decoded(codes[:, :, start : min(start + self.block_frames, whole)])
        self.waiting = codes[:, :, whole:]

    def finish(self) -> Iterator[np.ndarray]:
        """Decode the frames of the incomplete chunk; its missing frames count as lost."""
        streams, codebooks, frames = self.waiting.shape
        missing = np.full((streams, codebooks, -frames % self.chunk_frames), ABSENT, np.int32)
        for audio in self.push(missing):
            yield audio[..., : frames * self.frame_samples]

    def _decoded(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """Decode whole chunks.

        When all streams have faded to silence, lost frames are not computed, and the next frame
        that arrives starts from the initial state.
        """
        lost = codes[:, 0] == ABSENT
        before = self._lost_before(lost)
        if self.repeats:
            codes = self._repeated(codes, before[:, 1:])
        faded = np.all(before[:, : -1 : self.chunk_frames] >= self.silent_frames, axis=0)
        missing = np.all(lost.reshape(len(lost), -1, self.chunk_frames), axis=(0, 2))
        silent = faded & missing
        starts = (faded & ~silent) | np.diff(silent, prepend=silent[:1])
        places = [0, *(np.flatnonzero(starts[1:]) + 1).tolist(), len(silent)]
        for first, last in pairwise(places):
            frames = slice(first * self.chunk_frames, last * self.chunk_frames)
            if silent[first]:
                samples = (frames.stop - frames.start) * self.frame_samples
                yield np.zeros((*self.shape, samples), np.float32)
                continue
            if faded[first]:
                self.state = self.engine.initial_state(len(lost))
            audio, self.state = self.engine(codes[:, :, frames], self.state)
            yield self._at_level(audio, before[:, frames.start : frames.stop + 1])
        self.lost = before[:, -1]

    def _repeated(self, codes: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Return codes in which the last frame that arrived replaces lost frames.

        Args:
            lost: number of frames lost in a row at each frame ``[streams, frames]``.
        """
        known = np.concatenate([self.last[:, :, None], codes], axis=2)
        sources = np.maximum(np.arange(1, known.shape[2]) - lost, 0)
        codes = np.take_along_axis(known, sources[:, None], axis=2)
        self.last = codes[:, :, -1].copy()
        return codes

    def _lost_before(self, lost: np.ndarray) -> np.ndarray:
        """Count the frames lost in a row before each frame and after the last.

        Returns:
            ``[streams, frames + 1]``.
        """
        frame = np.arange(1, lost.shape[1] + 1)
        arrived = np.maximum.accumulate(np.where(lost, -self.lost[:, None], frame), axis=1)
        return np.concatenate([self.lost[:, None], frame - arrived], axis=1)

    def _at_level(self, audio: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Scale each frame with a ramp between the levels at its two ends.

        Args:
            lost: number of frames lost in a row at the ends of frames ``[streams, frames + 1]``.
        """
        levels = np.clip(1 - (lost - self.hold_frames) / self.fade_frames, 0, 1)
        if (levels == 1).all():
            return audio
        place = np.arange(self.frame_samples) / self.frame_samples
        ramps = levels[:, :-1, None] + np.diff(levels)[..., None] * place
        return audio * ramps.astype(np.float32).reshape(len(lost), 1, -1)

    def save(self) -> dict[str, Any]:
        """Return the state as arrays."""
        return {
            "engine": self.engine.save(self.state),
            "waiting": self.waiting.copy(),
            "last": self.last.copy(),
            "lost": self.lost.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned."""
        self.state = self.engine.restore(saved["engine"])
        self.waiting, self.lost = saved["waiting"].copy(), saved["lost"].copy()
        self.last = saved["last"].copy()
