"""One-shot voice conversion: what was said, in the voice of a few seconds of somebody else.

A decoder that has features in the middle, as FocalCodec-Stream's, makes audio of them frame by
frame. Each frame's features become the mean of those that are most like them among the frames of
the other voice: the words stay, the voice does not.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from chirrup.codec import Codec
from chirrup.codes import checked
from chirrup.errors import ModelError
from chirrup.resampling import checked_rate, length_at, resampled
from chirrup.runtime.graph import Graph, State

NEIGHBOURS = 4
HALVES = ("features", "waveform")


def in_voice(
    codec: Codec,
    references: Sequence[np.ndarray],
    neighbours: int = NEIGHBOURS,
    *,
    sample_rate_hz: int | None = None,
) -> Codec:
    """A codec like this one whose decoder speaks in the voice of ``references``.

    Codes, files and live streams are as before; it is decoding, whole or live, that differs.

    Args:
        references: recordings of one speaker, each ``float32 [samples]``, in all some seconds at
            least, better two minutes or more.
        neighbours: how many frames of the voice each frame becomes the mean of.
        sample_rate_hz: sample rate of the recordings. None is ``input_rate_hz``.

    Raises:
        ModelError: the codec has no features to exchange.
        ValueError: no reference, or one that is no signal, or fewer frames than neighbours.
    """
    if not has_features(codec):
        raise ModelError(
            f"{codec.name} cannot change the voice: that is for models such as focal-65k, whose "
            "features are apart from their sound, exported by this version"
        )
    if isinstance(references, np.ndarray):
        raise TypeError("references is a list of recordings: give [recording]")
    if not references:
        raise ValueError("no voice is given: give at least one recording of it")
    rate_hz = codec.input_rate_hz if sample_rate_hz is None else checked_rate(sample_rate_hz)
    decoder = VoiceDecoder(codec, neighbours)
    decoder.learn(references, rate_hz)
    return codec.with_decoder(decoder)


def has_features(codec: Codec) -> bool:
    """Whether the model's folder has the two halves of the decoder."""
    return all(half in codec.spec.weights for half in HALVES)


class VoiceDecoder:
    """A decoder in two halves, an `engine.Engine` whose states are the whole decoder's.

    The features between the halves are exchanged once a voice is set.

    Attributes:
        voice: features of the other voice, ``float32 [frames, dim]``.
        directions: the same at unit length.
    """

    def __init__(self, codec: Codec, neighbours: int) -> None:
        self.codec, self.neighbours = codec, neighbours
        self.whole = codec.graph("decoder")
        self.halves = []
        for index, half in enumerate(HALVES):
            states = self.whole.states.items()
            own = {key: shape for key, shape in states if key.startswith(str(index))}
            self.halves.append(Graph(self.whole.sessions, half, own, None, None))
        self.voice = self.directions = np.zeros((0, 0), np.float32)

    def initial_state(self, batch: int = 1) -> State:
        return self.whole.initial_state(batch)

    def save(self, state: State) -> dict[str, np.ndarray]:
        return self.whole.save(state)

    def restore(self, saved: Mapping[str, np.ndarray]) -> State:
        return self.whole.restore(saved)

    def learn(self, references: Sequence[np.ndarray], rate_hz: int) -> None:
        """Keep the features of the codes of ``references``."""
        frames = np.concatenate([self._features_of(signal, rate_hz) for signal in references])
        if not 1 <= self.neighbours <= len(frames):
            raise ValueError(
                f"the voice has {len(frames)} frames: {self.neighbours} neighbours cannot be found"
            )
        self.voice, self.directions = frames, _at_unit_length(frames)

    def _features_of(self, reference: np.ndarray, rate_hz: int) -> np.ndarray:
        signal = checked(reference)
        if len(signal) > 1:
            raise ValueError(f"a voice is mono, [samples], got {list(np.shape(reference))}")
        codec = self.codec
        state, pieces = self.halves[0].initial_state(), []
        native = resampled(iter([signal]), 1, rate_hz, codec.input_rate_hz)
        for codes in codec.encode_blocks(native, codec.codebooks):
            piece, state = self._features(codes.astype(np.int32), state)
            pieces.append(piece[0].T)
        samples = length_at(signal.shape[1], rate_hz, codec.input_rate_hz)
        frames = -(-samples // codec.input_frame_samples)
        return np.concatenate(pieces)[:frames]

    def __call__(self, x: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Codes ``[batch, codebooks, frames]`` to audio ``[batch, 1, samples]``."""
        first, second = ({name: state[name] for name in half.states} for half in self.halves)
        features, first = self._features(x, first)
        audio, second = self.halves[1](self.exchange(features), second)
        self.whole.check(x, audio)
        after = {**first, **second}
        return audio, {name: after[name] for name in self.whole.states}

    def _features(self, codes: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Codes ``[batch, codebooks, frames]`` to features ``[batch, dim, frames]``."""
        features, after = self.halves[0](codes, state)
        if features.ndim != 3 or features.shape[::2] != codes.shape[::2]:
            path = self.whole.sessions.path(HALVES[0])
            raise ModelError(f"{path} is damaged: it computes {list(features.shape)}, not features")
        return features, after

    def exchange(self, features: np.ndarray) -> np.ndarray:
        """``[batch, dim, frames]`` to the mean of the most alike of the voice, by their cosine."""
        if not len(self.voice):
            return features
        batch, dim, frames = features.shape
        rows = features.transpose(0, 2, 1).reshape(-1, dim)
        likeness = _at_unit_length(rows) @ self.directions.T
        nearest = np.argpartition(-likeness, self.neighbours - 1, axis=1)[:, : self.neighbours]
        mean = self.voice[nearest].mean(axis=1)
        return mean.reshape(batch, frames, dim).transpose(0, 2, 1)


def _at_unit_length(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
