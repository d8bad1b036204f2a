"""What is done to a clip before it is coded, or to its packets after.

The reference of every metric is what the codec was given: a codec is to keep noise and rooms as
they are. Only under ``denoise`` and ``dereverb`` it is the speech alone, for models that take noise
and rooms away. Everything random comes from the clip's name, so that every codec gets the same.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chirrup.errors import FileError, UsageError

KINDS = ("clean", "noise", "reverb", "talkers", "loss", "denoise", "dereverb")
DEFAULTS = {"noise": 15.0, "talkers": 0.0, "loss": 10.0, "denoise": 15.0}
NOISY, IN_A_ROOM = ("noise", "denoise"), ("reverb", "dereverb")
MOST_CHANNELS = 8
EARLY_S = 0.05
"""What of a room is part of the speech alone (LRAC challenge, track 2)."""


@dataclass(frozen=True)
class Condition:
    """One condition: ``clean``, ``noise:15``, ``reverb``, ``talkers:0``, ``loss:10``...

    Attributes:
        kind: one of `KINDS`.
        value: signal-to-noise ratio in dB, level over the second talker in dB, or per cent lost.
    """

    kind: str
    value: float = 0.0

    @property
    def name(self) -> str:
        """For files and tables: ``noise-15``."""
        return f"{self.kind}-{self.value:g}" if self.kind in DEFAULTS else self.kind

    @property
    def loss(self) -> float:
        """Share of the packets that are lost."""
        return self.value / 100 if self.kind == "loss" else 0.0


def parse(text: str) -> Condition:
    """A condition as a person writes it: ``noise`` or ``noise:15``."""
    kind, colon, number = text.partition(":")
    try:
        value = float(number) if colon else DEFAULTS.get(kind, 0.0)
    except ValueError:
        value = np.nan
    bad = kind not in KINDS or not np.isfinite(value) or (colon and kind not in DEFAULTS)
    if bad or (kind == "loss" and not 0 <= value <= 100):
        raise UsageError(
            f"{text!r} is no condition: use clean, noise:15 (dB), reverb, talkers:0 (dB), "
            "loss:10 (%), denoise:15 (dB) or dereverb"
        )
    return Condition(kind, value)


def apply(
    condition: Condition,
    audio: np.ndarray,
    rate_hz: int,
    clip: str,
    others: Sequence[Path],
) -> np.ndarray:
    """The clip under a condition; ``audio`` and the result are ``float32 [channels, samples]``.

    Args:
        clip: its name, the seed of all that is random.
        others: recordings of noise, room responses, or other talkers; without any, noise is pink
            and a room is noise that decays by 60 dB in 0.5 s.

    Raises:
        FileError: two talkers, and no other to draw from.
    """
    random = _random(condition, clip)
    samples = audio.shape[1]
    if condition.kind in NOISY:
        noise = _draw(others, random, rate_hz, samples) if others else _pink(random, samples)
        return _mixed(audio, noise, condition.value)
    if condition.kind == "talkers":
        if not others:
            raise FileError("two talkers need clips of at least two speakers")
        return _mixed(audio, _draw(others, random, rate_hz, samples), condition.value)
    if condition.kind in IN_A_ROOM:
        return _convolved(audio, _room(others, random, rate_hz))
    return audio


def reference(
    condition: Condition, audio: np.ndarray, rate_hz: int, clip: str, others: Sequence[Path]
) -> np.ndarray:
    """What a codec is to give back; arguments and result as those of `apply`.

    Of a room the first 50 ms stay, as loud as all that is heard.
    """
    if condition.kind == "denoise":
        return audio
    heard = apply(condition, audio, rate_hz, clip, others)
    if condition.kind == "dereverb":
        early = _room(others, _random(condition, clip), rate_hz)[: round(EARLY_S * rate_hz)]
        dry = _convolved(audio, early)
        return dry * np.sqrt(np.square(heard).mean() / np.maximum(np.square(dry).mean(), 1e-12))
    return heard


def read(path: Path, rate_hz: int | None = None, mono: bool = False) -> tuple[np.ndarray, int]:
    """``float32 [channels, samples]`` and its rate, resampled to ``rate_hz`` if that is given."""
    import soxr

    from chirrup.files.sounds import UnreadableError, read_sound

    try:
        audio, rate = read_sound(path)
    except UnreadableError as error:
        raise FileError(f"{path} cannot be read as audio: {error}") from error
    if not np.isfinite(audio).all():
        raise FileError(f"{path} has samples that are no finite numbers: repair it first")
    if mono:
        audio = audio.mean(axis=1, keepdims=True)
    if audio.shape[1] > MOST_CHANNELS:
        raise FileError(
            f"{path} has {audio.shape[1]} channels: up to {MOST_CHANNELS} can be evaluated; mix "
            "them (--mono)"
        )
    if rate_hz is not None and rate_hz != rate:
        audio, rate = soxr.resample(audio, rate, rate_hz), rate_hz
    if not len(audio):
        raise FileError(f"{path} is empty")
    return np.ascontiguousarray(audio.T), rate


def lost_frames(frames: int, share: float, clip: str) -> np.ndarray:
    """Which frames are lost, ``bool [frames]``: bursts of one to three, ``share`` of all."""
    random = np.random.default_rng(zlib.crc32(f"loss/{clip}".encode()))
    lost = np.zeros(frames, bool)
    while lost.mean() < share:
        start = int(random.integers(frames))
        lost[start : start + int(random.integers(1, 4))] = True
    return lost


def _random(condition: Condition, clip: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{condition.name}/{clip}".encode()))


def _convolved(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    size = audio.shape[1] + len(response)
    spectrum = np.fft.rfft(audio, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[:, : audio.shape[1]].astype(np.float32)


def _draw(
    paths: Sequence[Path], random: np.random.Generator, rate_hz: int, samples: int
) -> np.ndarray:
    """``[samples]`` from a random place of a random recording, repeated if it is too short."""
    audio = read(paths[int(random.integers(len(paths)))], rate_hz, mono=True)[0][0]
    start = int(random.integers(max(1, len(audio) - samples)))
    return np.resize(audio[start:], samples)


def _pink(random: np.random.Generator, samples: int) -> np.ndarray:
    spectrum = np.fft.rfft(random.standard_normal(samples))
    return np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), samples)


def _room(paths: Sequence[Path], random: np.random.Generator, rate_hz: int) -> np.ndarray:
    """A response whose direct path is at time zero, of unit energy."""
    if paths:
        response = read(paths[int(random.integers(len(paths)))], rate_hz, mono=True)[0][0]
        response = response[int(np.abs(response).argmax()) :]
    else:
        time_s = np.arange(round(0.5 * rate_hz)) / rate_hz
        response = 0.1 * random.standard_normal(len(time_s)) * 10 ** (-3 * time_s / 0.5)
        response[0] = 1.0
    return response / np.sqrt(np.square(response).sum())


def _mixed(audio: np.ndarray, other: np.ndarray, ratio_db: float) -> np.ndarray:
    """Add ``other [samples]`` at ``ratio_db`` below the clip."""
    level, other_level = (np.sqrt(np.square(x).mean()) + 1e-9 for x in (audio, other))
    return (audio + other * (level / other_level) * 10 ** (-ratio_db / 20)).astype(np.float32)
