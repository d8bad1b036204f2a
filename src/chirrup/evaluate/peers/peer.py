"""What a codec has to be to be compared, and what all of them share: rates, channels, checks."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import soxr

from chirrup.codes import checked
from chirrup.resampling import length_at

T = TypeVar("T")


class PeerError(RuntimeError):
    """A codec is not installed, or failed; the message says what to do or what it said."""


@dataclass(frozen=True)
class Coded:
    """A signal after a codec.

    Attributes:
        audio: ``float32 [channels, samples]``, levels untouched. The codec's delay is left in, if
            its decoder does not remove it, and the end of the signal is there: it has at least as
            many samples as what was coded, often some more.
        bits: of the codes or packets as they are sent, their padding to bytes included where the
            codec sends bytes, containers (Ogg, file headers) left out. Frames of silence that
            push the end of the signal out are counted: they are sent as well.
        encode_seconds, decode_seconds: wall time of the codec. That of a command includes the
            start of the process and its files, some 10 ms; elsewhere loading is left out.
    """

    audio: np.ndarray
    bits: int
    encode_seconds: float
    decode_seconds: float


class Peer(ABC):
    """A codec that takes part in a comparison. To add one, say what it is and write `roundtrip`.

    Attributes:
        name: key in tables and files: lower-case letters, digits, ``.``, ``_``, ``-``.
        label: for people to read.
        bitrates_bps: nominal bitrates it can do, of one signal that it codes at once: of a mono
            signal, and of all channels together where it codes them jointly.
        sample_rate_hz: it codes at this rate; audio of any other is resampled.
        channels: numbers of channels that it codes jointly; others are coded one by one.
    """

    name: str
    label: str
    bitrates_bps: tuple[int, ...]
    sample_rate_hz: int
    channels: tuple[int, ...] = (1,)

    def missing(self) -> str | None:
        """None if it can run here, else a line that says what to install."""
        return None

    @abstractmethod
    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        """Code and decode one signal.

        Args:
            audio: ``float32 [channels, samples]`` at ``sample_rate_hz``, one of ``channels``, at
                least one sample; full scale is 1 and may be exceeded.
            bitrate_bps: one of ``bitrates_bps``.

        Returns:
            Audio at ``sample_rate_hz``, with the same channels.
        """

    def code(self, audio: np.ndarray, sample_rate_hz: int, bitrate_bps: int) -> Coded:
        """Code and decode audio of any rate and any number of channels.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]``, full scale 1.
            bitrate_bps: one of ``bitrates_bps``. Channels that are coded one by one take it each:
                what all of them took is in the ``bits`` that come back.

        Returns:
            Audio ``[channels, samples]`` at ``sample_rate_hz``. Resampling is not in the seconds.

        Raises:
            PeerError: it is not installed, or it failed.
            ValueError: not a signal, or a bitrate that it does not have.
        """
        signal = checked(audio)
        if bitrate_bps not in self.bitrates_bps:
            known = ", ".join(map(str, self.bitrates_bps))
            raise ValueError(f"{self.name} has no bitrate of {bitrate_bps} bit/s; it has {known}")
        if (lack := self.missing()) is not None:
            raise PeerError(f"{self.label} is not installed: {lack}")
        native = resampled(signal, sample_rate_hz, self.sample_rate_hz)
        together = len(native) in self.channels
        parts = [
            self._checked(self.roundtrip(part, bitrate_bps), part)
            for part in ([native] if together else np.split(native, len(native)))
        ]
        decoded = padded_together([part.audio for part in parts])
        return Coded(
            resampled(decoded, self.sample_rate_hz, sample_rate_hz),
            sum(part.bits for part in parts),
            sum(part.encode_seconds for part in parts),
            sum(part.decode_seconds for part in parts),
        )

    def _checked(self, coded: Coded, audio: np.ndarray) -> Coded:
        decoded = np.asarray(coded.audio, np.float32)
        if decoded.ndim != 2 or len(decoded) != len(audio) or not np.isfinite(decoded).all():
            raise PeerError(
                f"{self.name} must give back finite audio [{len(audio)}, samples], gave "
                f"{list(decoded.shape)}"
            )
        if decoded.shape[1] < audio.shape[1]:
            raise PeerError(
                f"{self.name} lost the end: {decoded.shape[1]} of {audio.shape[1]} samples"
            )
        return replace(coded, audio=decoded)


def timed(function: Callable[..., T], *arguments: object) -> tuple[T, float]:
    """What ``function(*arguments)`` returns, and the seconds it took."""
    begin = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begin


def resampled(audio: np.ndarray, rate_hz: int, new_rate_hz: int) -> np.ndarray:
    """``float32 [channels, samples]`` at another rate, never shorter in time, not clipped."""
    if rate_hz == new_rate_hz:
        return audio
    result = soxr.resample(np.ascontiguousarray(audio.T), rate_hz, new_rate_hz).T
    missing = length_at(audio.shape[1], rate_hz, new_rate_hz) - result.shape[1]
    return np.pad(result, ((0, 0), (0, max(0, missing))))


def padded_together(parts: list[np.ndarray]) -> np.ndarray:
    """One array of ``[channels, samples]`` arrays, the shorter ones padded with silence."""
    longest = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, longest - p.shape[1]))) for p in parts])


def to_int16(audio: np.ndarray) -> np.ndarray:
    """16-bit samples of a signal, clipped at full scale."""
    return np.clip(np.round(audio * 32768.0), -32768, 32767).astype("<i2")


def from_int16(samples: np.ndarray) -> np.ndarray:
    """``float32`` of 16-bit samples, full scale 1."""
    return samples.astype(np.float32) / 32768
