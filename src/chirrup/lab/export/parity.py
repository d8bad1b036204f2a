"""How far exported graphs are from what they are to give."""

from dataclasses import dataclass

import numpy as np

from chirrup.codec import Codec
from chirrup.runtime.engine import Engine
from chirrup.voice import VoiceDecoder, has_features


@dataclass(frozen=True)
class Parity:
    """Share of equal codes, and error of the decoded audio, by frames or by blocks, the worse.

    A code that differs leaves another residual for all later codebooks of its frame to say, so
    these do not count.
    """

    codes_equal: float
    audio_error_db: float

    def check(self, least: float = 0.999, most_db: float = -60) -> None:
        """ValueError if fewer codes are equal than ``least``, or the error is above ``most_db``."""
        if not (self.codes_equal >= least and self.audio_error_db <= most_db):  # or not a number
            raise ValueError(
                f"the exported graphs differ from the model: {self.codes_equal:.2%} of the codes "
                f"are equal, audio error {self.audio_error_db:.1f} dB; nothing was written"
            )


def whole_chunks(codec: Codec, audio: np.ndarray) -> np.ndarray:
    """A signal as the encoder's graph wants it, cut to whole chunks of frames.

    Args:
        audio: ``float32 [samples]``, or ``[channels, samples]`` of what is coded jointly.

    Returns:
        ``[1, channels, samples]``.
    """
    chunk = codec.chunk_frames * codec.input_frame_samples
    audio = np.atleast_2d(audio)[:, : audio.shape[-1] // chunk * chunk]
    return np.broadcast_to(audio, (codec.channels, audio.shape[1]))[None].copy()


def measure(codec: Codec, signal: np.ndarray, codes: np.ndarray, expected: np.ndarray) -> Parity:
    """What a codec's graphs make of ``signal``, beside the codes and audio that are expected.

    The graphs, the decoder's halves too, get it frame by frame, then in blocks; what is furthest
    off counts.
    """
    encoder, decoder = codec.graphs()
    equal, errors = [], []
    decoders = [decoder, VoiceDecoder(codec, 1)] if has_features(codec) else [decoder]
    for frames in (codec.chunk_frames, codec.block_frames):
        streamed = stream(encoder, signal, frames * codec.input_frame_samples)
        equal.append(share_equal(streamed, codes))
        for graph in decoders:
            error = np.square(stream(graph, codes, frames) - expected).sum()
            errors.append(float(10 * np.log10(error / np.square(expected).sum() + 1e-30)))
    return Parity(min(equal), max(errors, key=lambda db: (np.isnan(db), db)))


def share_equal(codes: np.ndarray, expected: np.ndarray) -> float:
    """Of ``[batch, codebooks, frames]``, of those codes before which all of the frame are equal."""
    equal = codes == expected
    before = np.pad(equal[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=True)
    counts = np.logical_and.accumulate(before, axis=1)
    return float(equal[counts].mean())


def stream(graph: Engine, x: np.ndarray, step: int) -> np.ndarray:
    """All that a graph gives for ``x``, handed to it in pieces of ``step`` along the last axis."""
    state, pieces = graph.initial_state(), []
    for start in range(0, x.shape[-1], step):
        piece, state = graph(x[..., start : start + step], state)
        pieces.append(piece)
    return np.concatenate(pieces, axis=-1)
