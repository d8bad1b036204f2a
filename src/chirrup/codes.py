"""The codes of a signal: what a codec turns audio into and back."""

from dataclasses import dataclass

import numpy as np

from chirrup.spec import ModelSpec

ABSENT = -1
"""The code of a codebook left out for a lower bitrate, or of a lost frame."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of one signal. They compare by value, and hash by it as long as nobody writes to
    ``data``.

    Attributes:
        data: ``int16 [codebooks, frames]``, or ``[streams, codebooks, frames]``, a stream a channel
            or one for all that are coded jointly; -1 is absent. int32 for codes of 16 bits.
        samples: length of the signal, at the codec's ``sample_rate_hz``.
        channels: of the signal, where the codec codes several jointly; None is as many as it does.
    """

    data: np.ndarray
    samples: int
    channels: int | None = None

    @property
    def frames(self) -> int:
        return self.data.shape[-1]

    @property
    def codebooks(self) -> int:
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
    """Samples that a caller gave as ``float32``, or an error with what to do."""
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
    """``float32 [channels, samples]`` of what a caller gave, or an error with what to do."""
    signal = checked_samples(audio)
    if signal.ndim not in (1, 2) or signal.shape[-1] == 0 or signal.shape[0] == 0:
        mono = signal.ndim == 3 and signal.shape[1] == 1
        batch = ": give audio[:, 0] to code a batch of mono signals" if mono else ""
        raise ValueError(
            "audio must be [samples] or [channels, samples], not empty; got "
            f"{list(signal.shape)}{batch}"
        )
    return np.atleast_2d(signal)


def as_array(value: object, name: str, form: str) -> np.ndarray:
    """An argument as an array.

    Args:
        name, form: what to call the argument, and what it should be, in an error.

    Raises:
        TypeError: it is none, such as a ragged list, or a tensor on another device.
    """
    try:
        return np.asarray(value)
    except Exception as error:  # of whatever library the value comes from
        raise TypeError(f"{name} must be {form}; got {type(value).__name__}: {error}") from error


def all_codebooks(codes: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """``int32 [..., codebooks, frames]`` of a model, with -1 for the codebooks left out.

    Raises:
        ValueError: more codebooks than the model has, or a code out of range.
    """
    missing = spec.codebooks - codes.shape[-2]
    if missing < 0:
        raise ValueError(f"{spec.name} has {spec.codebooks} codebooks, got {codes.shape[-2]}")
    if codes.size and not ABSENT <= codes.min() <= codes.max() < spec.codebook_size:
        raise ValueError(f"codes must be from 0 to {spec.codebook_size - 1}, or -1 for absent")
    padding = [(0, 0)] * (codes.ndim - 2) + [(0, missing), (0, 0)]
    return np.pad(codes.astype(np.int32), padding, constant_values=ABSENT)
