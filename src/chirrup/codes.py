"""The class `Codes`, the encoded form of a signal, and checks of audio and codes from callers."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from chirrup.spec import ModelSpec
from chirrup.words import counted

MOST_CHANNELS = 16
"""Audio with more channels, and no more samples in each, has its axes in the wrong order."""
ABSENT = -1
"""Code of a codebook that is left out for a lower bitrate, or of a lost frame."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of one signal.

    Codes compare and hash by value. They must not be changed while they are in a set or dictionary.

    Attributes:
        data: ``int16 [codebooks, frames]`` or ``[streams, codebooks, frames]``; int32 if codes have
            16 bits. A stream holds one channel, or all channels of a codec that codes them jointly.
            -1 stands for a codebook that is left out, or for a lost frame.
        samples: length of the signal in samples at the codec's ``sample_rate_hz``.
        channels: number of channels of the signal, if the codec codes several channels jointly.
            None is the number of channels of the codec.
    """

    data: np.ndarray
    samples: int
    channels: int | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.data.shape[-1]

    @property
    def codebooks(self) -> int:
        """Number of codebooks."""
        return self.data.shape[-2]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        same = (self.samples, self.channels) == (other.samples, other.channels)
        return same and np.array_equal(self.data, other.data)

    def __hash__(self) -> int:
        values = self.data.astype(np.int64).tobytes()
        return hash((self.data.shape, values, self.samples, self.channels))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)


def checked_samples(audio: np.ndarray) -> np.ndarray:
    """Return a caller's samples as ``float32``.

    Raises:
        ValueError: the samples are not floating point or not finite.
        TypeError: the samples are not an array.
    """
    form = "float32 [samples], or [channels, samples] with rows of one length"
    samples = as_array(audio, "audio", form)
    if not np.issubdtype(samples.dtype, np.floating):
        integers = np.issubdtype(samples.dtype, np.integer)
        raise ValueError(
            f"audio must be floating point with full scale 1, got {samples.dtype}"
            + (": divide 16-bit integers by 32768" if integers else "")
        )
    with np.errstate(over="ignore"):
        samples = samples.astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        raise ValueError("audio has samples that are not finite (NaN or infinity)")
    return samples


def checked(audio: np.ndarray) -> np.ndarray:
    """Return a caller's signal as ``float32 [channels, samples]``.

    Raises:
        ValueError: the shape is wrong, or the samples are not floating point or not finite.
        TypeError: the signal is not an array.
    """
    signal = checked_samples(audio)
    if signal.ndim == 2 and signal.shape[1] <= MOST_CHANNELS < signal.shape[0]:
        raise ValueError(
            f"audio must be [channels, samples], got {list(signal.shape)}: give audio.T"
        )
    if signal.ndim not in (1, 2) or signal.shape[-1] == 0 or signal.shape[0] == 0:
        mono = signal.ndim == 3 and signal.shape[1] == 1
        batch = ": give audio[:, 0] to code a batch of mono signals" if mono else ""
        raise ValueError(
            "audio must be [samples] or [channels, samples], not empty; got "
            f"{list(signal.shape)}{batch}"
        )
    return np.atleast_2d(signal)


def checked_piece(audio: np.ndarray, channels: int) -> np.ndarray:
    """Return a piece of a caller's signal as ``float32 [channels, samples]``, also without samples.

    Raises:
        ValueError: the shape is wrong, or the samples are not floating point or not finite.
        TypeError: the piece is not an array.
    """
    piece = checked_samples(audio)
    if piece.ndim != 2 or len(piece) != channels:
        raise ValueError(f"a piece of audio must be [{channels}, samples], got {list(piece.shape)}")
    return piece


def checked_codes(codes: "Codes | np.ndarray") -> np.ndarray:
    """Return a caller's codes as integers ``[codebooks, frames]`` or ``[streams, ...]``.

    Raises:
        ValueError: the shape is wrong, the codes are not integers, or the length of the signal is
            not an integer from 0 on.
        TypeError: the codes are not an array.
    """
    if isinstance(codes, Codes) and not (
        isinstance(codes.samples, Integral) and codes.samples >= 0
    ):
        raise ValueError(f"samples of codes are {codes.samples!r}, must be an integer from 0 on")
    form = "integers [codebooks, frames] or [streams, codebooks, frames]"
    data = as_array(codes.data if isinstance(codes, Codes) else codes, "codes", form)
    integers = np.issubdtype(data.dtype, np.integer)
    if data.ndim not in (2, 3) or not integers or not len(data):
        raise ValueError(f"codes must be {form}, not empty; got {data.dtype} {list(data.shape)}")
    return data


def as_array(value: object, name: str, form: str) -> np.ndarray:
    """Return an argument as an array.

    Args:
        name: name of the argument in the error message.
        form: expected type and shape in the error message.

    Raises:
        TypeError: the value cannot be converted, such as a ragged list, or a tensor on another
            device.
    """
    try:
        return np.asarray(value)
    except Exception as error:  # the value's library may raise any error
        raise TypeError(f"{name} must be {form}; got {type(value).__name__}: {error}") from error


def all_codebooks(codes: np.ndarray, spec: ModelSpec, streams: int | None = None) -> np.ndarray:
    """Return codes as ``int32 [..., codebooks, frames]`` with all codebooks of the model.

    Codebooks that are left out become -1.

    Args:
        codes: ``int [codebooks, frames]``, or ``[streams, codebooks, frames]`` if ``streams`` is
            given.
        spec: the model.
        streams: number of streams.

    Raises:
        ValueError: the shape is wrong, there are more codebooks than the model has, or a code is
            out of range.
        TypeError: the codes are not an array.
    """
    form = "[codebooks, frames]" if streams is None else f"[{streams}, codebooks, frames]"
    codes = as_array(codes, "codes", f"integers {form}")
    outer = () if streams is None else (streams,)
    if codes.shape[:-2] != outer or codes.ndim < 2 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers {form}, got {codes.dtype} {list(codes.shape)}")
    missing = spec.codebooks - codes.shape[-2]
    if missing < 0:
        raise ValueError(
            f"{spec.name} has {counted(spec.codebooks, 'codebook')}, got {codes.shape[-2]}"
        )
    if codes.size and not ABSENT <= codes.min() <= codes.max() < spec.codebook_size:
        raise ValueError(f"codes must be from 0 to {spec.codebook_size - 1}, or -1 for absent")
    padding = [(0, 0)] * (codes.ndim - 2) + [(0, missing), (0, 0)]
    return np.pad(codes.astype(np.int32), padding, constant_values=ABSENT)


def reliable_codes(codes: np.ndarray, reliable: int | np.ndarray) -> np.ndarray:
    """Return codes ``[codebooks, frames]``, of which the unreliable ones are `ABSENT`.

    If the code of the first codebook is unreliable, all codes of the frame are.

    Args:
        reliable: which codes are right, ``bool [codebooks, frames]``, or the number of first
            codebooks whose codes are right.

    Raises:
        ValueError: ``reliable`` has another type or shape, or is negative.
    """
    right = np.asarray(reliable)
    if np.issubdtype(right.dtype, np.integer) and right.ndim == 0 and right >= 0:
        right = np.broadcast_to(np.arange(len(codes))[:, None] < right, codes.shape)
    if right.dtype != np.bool_ or right.shape != codes.shape:
        raise ValueError(
            f"reliable must be a number of codebooks from 0 on, or bool {list(codes.shape)}; got "
            f"{right.dtype} {reliable if right.ndim == 0 else list(right.shape)}"
        )
    return np.where(right & right[0], codes, ABSENT)
