"""Encoding of a stream of samples to codes, for signals, files and live streams."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from chirrup.bitstream import code_dtype
from chirrup.conditioning import Conditioner
from chirrup.runtime.engine import Engine
from chirrup.spec import ModelSpec


class ChunkEncoder:
    """The encoder of a model with the state of one signal.

    Args:
        channels: number of channels of the signal. A model that codes several channels jointly
            takes 1 or all of them.
        codebooks: number of codebooks to keep, from the first on.
        piece_frames: frames to code at once, a whole number of chunks.

    Raises:
        ValueError: the model does not support the number of channels or of codebooks.
    """

    def __init__(
        self, spec: ModelSpec, engine: Engine, channels: int, codebooks: int, piece_frames: int
    ) -> None:
        if codebooks not in range(1, spec.codebooks + 1):
            raise ValueError(f"{spec.name} has 1 to {spec.codebooks} codebooks, not {codebooks!r}")
        self.spec, self.engine, self.codebooks = spec, engine, int(codebooks)
        self.streams, self.inputs = spec.streams(channels), max(channels, spec.channels)
        self.piece_samples = piece_frames * spec.input_frame_samples
        self.dtype = code_dtype(spec.bits_per_code)
        self.state = engine.initial_state(self.streams)
        self.conditioner = Conditioner(self.inputs, spec.input_frame_samples, spec.input_rate_hz)
        self.waiting = np.zeros((self.inputs, 0), np.float32)
        self.samples = 0

    def push(self, signal: np.ndarray) -> Iterator[np.ndarray]:
        """Encode ``float32 [channels, any number of samples]`` at ``input_rate_hz``.

        Yields:
            Codes ``int16 [streams, codebooks, frames]`` (int32 if codes have 16 bits) of each
            complete piece.
        """
        self.samples += signal.shape[1]
        signal = np.broadcast_to(signal, (self.inputs, signal.shape[1]))
        yield from self._coded(self.conditioner.push(signal))

    def finish(self) -> Iterator[np.ndarray]:
        """Append the silence that a decoder needs to return every sample, and code the rest."""
        if not self.samples:
            return
        yield from self._coded(self.conditioner.finish(self.spec.padding_samples(self.samples)))
        if self.waiting.shape[1]:
            yield self._code(self.waiting)

    def _coded(self, signal: np.ndarray) -> Iterator[np.ndarray]:
        self.waiting = np.concatenate([self.waiting, signal], axis=1)
        while self.waiting.shape[1] >= self.piece_samples:
            piece = self.waiting[:, : self.piece_samples]
            self.waiting = self.waiting[:, self.piece_samples :]
            yield self._code(piece)

    def _code(self, signal: np.ndarray) -> np.ndarray:
        """Code ``float32 [inputs, samples]``, a whole number of chunks."""
        audio = signal.reshape(self.streams, self.spec.channels, -1)
        codes, self.state = self.engine(audio, self.state)
        return codes[:, : self.codebooks].astype(self.dtype)

    def save(self) -> dict[str, Any]:
        """Return the state as arrays and numbers."""
        return {
            "engine": self.engine.save(self.state),
            "conditioner": self.conditioner.save(),
            "waiting": self.waiting.copy(),
            "samples": self.samples,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned."""
        self.state = self.engine.restore(saved["engine"])
        self.conditioner.restore(saved["conditioner"])
        self.waiting, self.samples = saved["waiting"].copy(), saved["samples"]
