"""The interface of the codecs in a comparison, with their common work: rates, channels, checks."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import soxr

from chirrup.codes import checked
from chirrup.live.network import NetworkConditions
from chirrup.resampling import length_at

T = TypeVar("T")


class PeerError(RuntimeError):
    """A codec is not installed, or failed. The message has the remedy, or the codec's output."""


@dataclass(frozen=True)
class Coded:
    """A decoded signal, and its cost.

    Attributes:
        audio: ``float32 [channels, samples]``, at the codec's own level. The codec's delay is not
            removed, except by decoders that remove it. The audio is at least as long as the input.
        bits: size of the codes or packets that are sent. The padding of packets to bytes counts,
            and so do frames of silence that flush the end of the signal; containers (Ogg, file
            headers) do not count.
        encode_seconds, decode_seconds: wall time. For a command it includes the start of the
            process and its files, about 10 ms; for a library it excludes loading.
    """

    audio: np.ndarray
    bits: int
    encode_seconds: float
    decode_seconds: float


class Peer(ABC):
    """A codec in a comparison. A subclass sets ``name`` to ``sample_rate_hz``, and has `roundtrip`.

    Attributes:
        name: key in tables and files, of lower-case letters, digits, ``.``, ``_`` and ``-``.
        label: name for readers.
        bitrates_bps: nominal bitrates of one coded signal: a mono signal, or all channels that the
            codec codes jointly.
        sample_rate_hz: rate of the codec; other audio is resampled.
        channels: numbers of channels that the codec codes jointly; others are coded one by one.
        ours: whether the codec is a model of this package.
        version: results of another version are computed again.
        delay_ms: delay of the decoded audio; None if it is to be estimated from the audio.
        accepts_network: whether the codec has `with_network`.
    """

    name: str
    label: str
    bitrates_bps: tuple[int, ...]
    sample_rate_hz: int
    channels: tuple[int, ...] = (1,)
    ours: bool = False
    version: str = ""
    delay_ms: float | None = None
    accepts_network: bool = False

    @property
    def default_bitrates_bps(self) -> tuple[int, ...]:
        """Bitrates of a comparison that names none."""
        return self.bitrates_bps

    def missing(self) -> str | None:
        """Return what to install, in one line, or None if the codec can run here."""
        return None

    def with_network(self, conditions: NetworkConditions, seed: str) -> "Peer":
        """Return the codec with packets that are sent over a simulated network.

        Args:
            conditions: the effects of the network, for `chirrup.live.network.Network`.
            seed: seeds the network. Each signal is sent over a new network.

        Raises:
            PeerError: the codec cannot do this.
        """
        raise PeerError(f"{self.label} cannot be evaluated over a network")

    @abstractmethod
    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        """Encode and decode one signal.

        Args:
            audio: ``float32 [channels, samples]`` at ``sample_rate_hz``, with one of the numbers of
                ``channels`` and at least one sample. Full scale is 1 and may be exceeded.
            bitrate_bps: one of ``bitrates_bps``.

        Returns:
            Audio at ``sample_rate_hz`` with as many channels.
        """

    def code(self, audio: np.ndarray, sample_rate_hz: int, bitrate_bps: int) -> Coded:
        """Encode and decode audio of any rate and any number of channels.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]``, full scale 1.
            bitrate_bps: one of ``bitrates_bps``. If the channels are coded one by one, each takes
                this bitrate, and the ``bits`` of the result are the sum.

        Returns:
            Audio ``[channels, samples]`` at ``sample_rate_hz``. The seconds exclude resampling.

        Raises:
            PeerError: the codec is not installed, or failed.
            ValueError: ``audio`` is not a signal, or the codec does not have the bitrate.
        """
        signal = checked(audio)
        if bitrate_bps not in self.bitrates_bps:
            known = ", ".join(map(str, self.bitrates_bps))
            raise ValueError(
                f"bitrate {bitrate_bps} bit/s is not supported by {self.name}; "
                f"choose one of {known}"
            )
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
                f"{self.name} must return finite audio [{len(audio)}, samples], but returned "
                f"{list(decoded.shape)}"
            )
        if decoded.shape[1] < audio.shape[1]:
            raise PeerError(
                f"{self.name} returned {decoded.shape[1]} of {audio.shape[1]} samples: "
                "the end is lost"
            )
        return replace(coded, audio=decoded)


def timed(function: Callable[..., T], *arguments: object) -> tuple[T, float]:
    """Return the result of ``function(*arguments)``, and the wall time in seconds."""
    begin = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begin


def resampled(audio: np.ndarray, rate_hz: int, new_rate_hz: int) -> np.ndarray:
    """Resample ``float32 [channels, samples]``. The result is not clipped, and never shorter."""
    if rate_hz == new_rate_hz:
        return audio
    result = soxr.resample(np.ascontiguousarray(audio.T), rate_hz, new_rate_hz).T
    missing = length_at(audio.shape[1], rate_hz, new_rate_hz) - result.shape[1]
    return np.pad(result, ((0, 0), (0, max(0, missing))))


def padded_together(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenate ``[channels, samples]`` arrays by channel; pad the shorter ones with silence."""
    longest = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, longest - p.shape[1]))) for p in parts])


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Convert a signal to 16-bit samples, clipped at full scale."""
    return np.clip(np.round(audio * 32768.0), -32768, 32767).astype("<i2")


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Convert 16-bit samples to ``float32``, full scale 1."""
    return samples.astype(np.float32) / 32768
