"""One-shot voice conversion by nearest neighbours (kNN-VC, arXiv 2305.18975).

The decoder of FocalCodec-Stream (arXiv 2509.16195) computes features from codes, and audio from
features. Between the two, the features of each frame are replaced by the mean of the most similar
features among the frames of a target speaker. The words stay, and the voice changes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chirrup.codec import Codec
from chirrup.codes import checked
from chirrup.errors import ModelError
from chirrup.resampling import checked_rate, length_at, resample_blocks
from chirrup.runtime.engine import EngineState
from chirrup.words import counted

NEIGHBOURS = 4
HALVES = ("features", "waveform")
"""Graphs of the decoder: codes to features, and features to audio."""
SILENT = 1e-4
"""Peak below which a recording is silence: 3 steps of 16 bits."""


def in_voice(
    codec: Codec,
    references: Sequence[np.ndarray],
    neighbours: int = NEIGHBOURS,
    *,
    sample_rate_hz: int | None = None,
) -> Codec:
    """Return a copy of a codec that decodes in the voice of a target speaker.

    Only decoding changes, of signals and of live streams. Codes, packets and files stay the same.

    >>> codec = chirrup.in_voice(chirrup.load("focal-small"), [recording])
    >>> converted = codec.decode(codec.encode(speech))

    Args:
        codec: a codec whose decoder has features, such as ``focal-small``.
        references: recordings of the target speaker, each ``float32 [samples]``. A few seconds
            suffice; two minutes or more are better.
        neighbours: number of frames of the target speaker that are averaged for each frame.
        sample_rate_hz: sample rate of the recordings, in Hz. None is ``input_rate_hz``.

    Raises:
        ModelError: the decoder of the codec has no features.
        ValueError: there is no recording, a recording is silent or not a mono signal, or the
            recordings have fewer frames than ``neighbours``.
        TypeError: ``references`` is one array instead of a list of arrays.
    """
    if not has_features(codec):
        raise ModelError(
            f"{codec.name} cannot change the voice: use a model whose decoder has features, such "
            "as focal-small, and export it with this version of chirrup"
        )
    if isinstance(references, np.ndarray):
        raise TypeError("references must be a list of recordings: pass [recording]")
    if not references:
        raise ValueError("no voice is given: pass at least one recording of it")
    rate_hz = codec.input_rate_hz if sample_rate_hz is None else checked_rate(sample_rate_hz)
    decoder = VoiceDecoder(codec, neighbours)
    decoder.set_voice(references, rate_hz)
    return codec.with_decoder(decoder)


def has_features(codec: Codec) -> bool:
    """Return whether the model's folder has the two halves of the decoder."""
    return all(half in codec.spec.weights for half in HALVES)


class VoiceDecoder:
    """An `engine.Engine` that runs the decoder in two halves and replaces the features in between.

    Its states are the states of the whole decoder.

    Args:
        codec: a codec whose decoder has features.
        neighbours: number of frames of the target speaker that are averaged for each frame.

    Attributes:
        voice: features of the target speaker, ``float32 [frames, dim]``.
        directions: ``voice`` with rows of unit length.
    """

    def __init__(self, codec: Codec, neighbours: int) -> None:
        self.codec, self.neighbours = codec, neighbours
        self.whole: Any = codec.decoding_engine()
        self.halves = []
        for index, half in enumerate(HALVES):
            states = self.whole.states.items()
            own = {key: shape for key, shape in states if key.startswith(str(index))}
            self.halves.append(self.whole.sibling(half, own))
        self.voice = self.directions = np.zeros((0, 0), np.float32)

    def initial_state(self, batch: int = 1) -> EngineState:
        return self.whole.initial_state(batch)

    def save(self, state: EngineState) -> dict[str, np.ndarray]:
        return self.whole.save(state)

    def restore(self, saved: Mapping[str, np.ndarray]) -> EngineState:
        return self.whole.restore(saved)

    def set_voice(self, references: Sequence[np.ndarray], rate_hz: int) -> None:
        """Set the target speaker's features from the codes of recordings."""
        frames = np.concatenate([self._features_of(signal, rate_hz) for signal in references])
        if not 1 <= self.neighbours <= len(frames):
            there = counted(len(frames), "frame")
            raise ValueError(f"neighbours is {self.neighbours}, but the voice has {there}")
        self.voice, self.directions = frames, _at_unit_length(frames)

    def _features_of(self, reference: np.ndarray, rate_hz: int) -> np.ndarray:
        signal = checked(reference)
        if len(signal) > 1:
            raise ValueError(f"a voice must be mono, [samples]; got {list(np.shape(reference))}")
        if np.abs(signal).max(initial=0) < SILENT:
            raise ValueError(
                f"a recording of the voice is silent: its peak is below {SILENT:g}; give a "
                "recording of speech"
            )
        codec = self.codec
        state, pieces = self.halves[0].initial_state(), []
        native = resample_blocks(iter([signal]), 1, rate_hz, codec.input_rate_hz)
        for codes in codec.encode_blocks(native, codec.codebooks):
            piece, state = self._features(codes.astype(np.int32), state)
            pieces.append(piece[0].T)
        samples = length_at(signal.shape[1], rate_hz, codec.input_rate_hz)
        frames = -(-samples // codec.input_frame_samples)
        return np.concatenate(pieces)[:frames]

    def __call__(self, x: np.ndarray, state: EngineState) -> tuple[np.ndarray, EngineState]:
        """Decode codes ``[batch, codebooks, frames]`` to audio ``[batch, 1, samples]``."""
        first, second = ({name: state[name] for name in half.states} for half in self.halves)
        features, first = self._features(x, first)
        audio, second = self.halves[1](self.exchange(features), second)
        self.whole.check(x, audio)
        after = {**first, **second}
        return audio, {name: after[name] for name in self.whole.states}

    def _features(self, codes: np.ndarray, state: EngineState) -> tuple[np.ndarray, EngineState]:
        """Decode codes ``[batch, codebooks, frames]`` to features ``[batch, dim, frames]``."""
        features, after = self.halves[0](codes, state)
        if features.ndim != 3 or features.shape[::2] != codes.shape[::2]:
            path = self.whole.sessions.path(HALVES[0])
            raise ModelError(f"{path} is damaged: it computes {list(features.shape)}, not features")
        return features, after

    def exchange(self, features: np.ndarray) -> np.ndarray:
        """Replace ``[batch, dim, frames]`` by the mean of the features with the highest cosine."""
        if not len(self.voice):
            return features
        batch, dim, frames = features.shape
        rows = features.transpose(0, 2, 1).reshape(-1, dim)
        cosine = _at_unit_length(rows) @ self.directions.T
        nearest = np.argpartition(-cosine, self.neighbours - 1, axis=1)[:, : self.neighbours]
        mean = self.voice[nearest].mean(axis=1)
        return mean.reshape(batch, frames, dim).transpose(0, 2, 1)


def _at_unit_length(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
