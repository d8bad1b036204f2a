"""Parity: how far the outputs of an exported model differ from the expected outputs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chirrup.codec import Codec
from chirrup.runtime.engine import Engine
from chirrup.voice import VoiceDecoder, has_features

if TYPE_CHECKING:
    from chirrup.lab.models import Model


@dataclass(frozen=True)
class Parity:
    """Agreement of exported forms and model, the worse of frame-by-frame and block processing.

    Attributes:
        codes_equal: share of equal codes. If a code differs, the later codebooks of its frame
            quantize another residual; their codes are not counted. 1 if the exported model only
            decodes.
        audio_error_db: error of the decoded audio, in dB relative to its power.
    """

    codes_equal: float
    audio_error_db: float

    def check(self, least: float = 0.995, most_db: float = -60) -> None:
        """Raise ValueError if ``codes_equal`` is below ``least`` or the error above ``most_db``.

        Some codes of a model that was hardly trained are near ties.
        """
        if not (self.codes_equal >= least and self.audio_error_db <= most_db):  # also if NaN
            raise ValueError(
                f"the exported forms differ from the model: {self.codes_equal:.2%} of the codes "
                f"are equal, audio error {self.audio_error_db:.1f} dB; nothing was written"
            )


def whole_chunks(codec: "Codec | Model", audio: np.ndarray) -> np.ndarray:
    """Return a signal in the form of the encoder's input, cut to whole chunks of frames.

    Args:
        codec: the codec, or its model.
        audio: ``float32 [samples]``, or ``[channels, samples]`` for joint coding.

    Returns:
        ``[1, channels, samples]``.
    """
    chunk = codec.chunk_frames * codec.input_frame_samples
    audio = np.atleast_2d(audio)[:, : audio.shape[-1] // chunk * chunk]
    return np.broadcast_to(audio, (codec.channels, audio.shape[1]))[None].copy()


def measure(codec: Codec, signal: np.ndarray, codes: np.ndarray, expected: np.ndarray) -> Parity:
    """Compare the outputs of a codec's engines with the expected codes and audio.

    The engines, including the halves of the decoder, run frame by frame and in blocks; the worst
    result counts. Each is opened anew for each run, so that they are not in memory together.

    Args:
        signal: input of the encoder, ``[1, channels, samples]``.
        codes: expected codes, ``int32 [1, codebooks, frames]``.
        expected: expected audio, ``[1, channels, samples]``.
    """

    def opened() -> Codec:
        return Codec(codec.folder, engine=codec.engine)

    equal, errors = [1.0], []
    decoders: list[Callable[[], Engine]] = [lambda: opened().decoding_engine()]
    if has_features(codec):
        decoders.append(lambda: VoiceDecoder(opened(), 1))
    for frames in (codec.chunk_frames, codec.block_frames):
        step = frames * codec.input_frame_samples
        if codec.has_encoder:
            equal.append(share_equal(stream(opened().engines()[0], signal, step), codes))
        for decoder in decoders:
            error = np.square(stream(decoder(), codes, frames) - expected).sum()
            errors.append(float(10 * np.log10(error / np.square(expected).sum() + 1e-30)))
    return Parity(min(equal), largest(errors))


def engines_of(program: bytes | None) -> tuple[str, ...]:
    """Return the engines that run an exported folder with this program, or without one."""
    return ("onnx",) if program is None else ("onnx", "native")


def worst(parities: Iterable[Parity]) -> Parity:
    """Return the lowest share of equal codes and the largest error."""
    found = list(parities)
    return Parity(
        min(parity.codes_equal for parity in found),
        largest([parity.audio_error_db for parity in found]),
    )


def largest(errors_db: Iterable[float]) -> float:
    """Return the largest error; NaN is larger than all numbers."""
    return max(errors_db, key=lambda db: (np.isnan(db), db))


def share_equal(codes: np.ndarray, expected: np.ndarray) -> float:
    """Return the share of equal codes in ``[batch, codebooks, frames]``.

    A code counts only if all earlier codebooks of its frame are equal.
    """
    equal = codes == expected
    before = np.pad(equal[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=True)
    counts = np.logical_and.accumulate(before, axis=1)
    return float(equal[counts].mean())


def stream(engine: Engine, x: np.ndarray, step: int) -> np.ndarray:
    """Return an engine's output for ``x``, run in pieces of ``step`` along the last axis."""
    state, pieces = engine.initial_state(), []
    for start in range(0, x.shape[-1], step):
        piece, state = engine(x[..., start : start + step], state)
        pieces.append(piece)
    return np.concatenate(pieces, axis=-1)
