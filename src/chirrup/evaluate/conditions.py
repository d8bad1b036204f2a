"""Conditions of an evaluation: noise, rooms, other talkers, networks.

A condition changes a clip before it is coded, sends its packets over a simulated network, or both.
The reference of the metrics is the changed clip, because a codec must preserve noise and rooms.
Under ``denoise`` and ``dereverb`` the reference is the speech alone, for models that remove noise
and rooms. The name of the clip seeds every random choice, so all codecs get the same signal.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chirrup.errors import FileError, UsageError
from chirrup.evaluate.clips import read_clip
from chirrup.live.network import EFFECTS, NetworkConditions, parse_network

KINDS = ("clean", "noise", "reverb", "talkers", "denoise", "dereverb")
DEFAULTS = {"noise": 15.0, "talkers": 0.0, "denoise": 15.0}
NOISY, IN_A_ROOM = ("noise", "denoise"), ("reverb", "dereverb")
EARLY_S = 0.05
"""Under ``dereverb``, the part of a room response that belongs to the reference. The LRAC challenge
uses this value in track 2 (arXiv 2510.00264, section 3.2)."""


@dataclass(frozen=True)
class Condition:
    """One condition: ``clean``, ``noise:15``, ``reverb``, ``loss:10%``, ``noise:15+loss:10%``...

    Attributes:
        kind: one of `KINDS`.
        value: signal-to-noise ratio in dB, or level of the first talker above the second in dB.
        network: the network over which the packets are sent.
    """

    kind: str
    value: float = 0.0
    network: NetworkConditions = field(default_factory=NetworkConditions)

    @property
    def sound(self) -> str:
        """Name of the condition without its network, such as ``noise-15``."""
        return f"{self.kind}-{self.value:g}" if self.kind in DEFAULTS else self.kind

    @property
    def name(self) -> str:
        """Name in files and tables, such as ``noise-15`` or ``noise-15+loss-10``."""
        names = [self.sound] if self.kind != "clean" or not self.network.name else []
        return "+".join([*names, self.network.name] if self.network.name else names)


def parse(text: str) -> Condition:
    """Parse a condition, such as ``noise``, ``noise:15`` or ``reverb+loss:10%+jitter:40ms``.

    Raises:
        UsageError: the text is not a condition.
        FileError: the trace of a network cannot be read.
    """
    sounds, effects = [], []
    for part in text.split("+"):
        (effects if part.partition(":")[0] in EFFECTS else sounds).append(part)
    network = parse_network("+".join(effects)) if effects else NetworkConditions()
    kind, colon, number = "+".join(sounds or ["clean"]).partition(":")
    try:
        value = float(number) if colon else DEFAULTS.get(kind, 0.0)
    except ValueError:
        value = np.nan
    if kind not in KINDS or not np.isfinite(value) or (colon and kind not in DEFAULTS):
        raise UsageError(
            f"{text!r} is not a condition: use clean, noise:15 (dB), reverb, talkers:0 (dB), "
            "denoise:15 (dB), dereverb, or a network such as loss:10%+jitter:40ms; "
            "noise:15+loss:10% is both"
        )
    return Condition(kind, value, network)


def apply(
    condition: Condition,
    audio: np.ndarray,
    rate_hz: int,
    clip: str,
    others: Sequence[Path],
) -> np.ndarray:
    """Apply a condition to a clip.

    Args:
        audio: ``float32 [channels, samples]``.
        clip: name of the clip, which seeds the random choices.
        others: recordings of noise, room responses or other talkers. If there are none, noise is
            pink, and a room response is noise that decays by 60 dB in 0.5 s.

    Returns:
        ``float32 [channels, samples]``.

    Raises:
        FileError: the condition is a second talker, and ``others`` is empty.
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
    """Return the reference of the metrics. Arguments and result are described at `apply`.

    Under ``dereverb`` the reference has the first 50 ms of the room response, and the level of the
    reverberant clip.
    """
    if condition.kind == "denoise":
        return audio
    changed = apply(condition, audio, rate_hz, clip, others)
    if condition.kind == "dereverb":
        early = _room(others, _random(condition, clip), rate_hz)[: round(EARLY_S * rate_hz)]
        dry = _convolved(audio, early)
        return dry * np.sqrt(np.square(changed).mean() / np.maximum(np.square(dry).mean(), 1e-12))
    return changed


def _random(condition: Condition, clip: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{condition.sound}/{clip}".encode()))


def _convolved(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    size = audio.shape[1] + len(response)
    spectrum = np.fft.rfft(audio, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[:, : audio.shape[1]].astype(np.float32)


def _draw(
    paths: Sequence[Path], random: np.random.Generator, rate_hz: int, samples: int
) -> np.ndarray:
    """Return ``[samples]`` from a random place of a random recording, repeated if it is short."""
    audio = read_clip(paths[int(random.integers(len(paths)))], rate_hz, mono=True)[0][0]
    start = int(random.integers(max(1, len(audio) - samples)))
    return np.resize(audio[start:], samples)


def _pink(random: np.random.Generator, samples: int) -> np.ndarray:
    spectrum = np.fft.rfft(random.standard_normal(samples))
    return np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), samples)


def _room(paths: Sequence[Path], random: np.random.Generator, rate_hz: int) -> np.ndarray:
    """Return a room response of unit energy, whose direct path is at time zero."""
    if paths:
        response = read_clip(paths[int(random.integers(len(paths)))], rate_hz, mono=True)[0][0]
        response = response[int(np.abs(response).argmax()) :]
    else:
        time_s = np.arange(round(0.5 * rate_hz)) / rate_hz
        response = 0.1 * random.standard_normal(len(time_s)) * 10 ** (-3 * time_s / 0.5)
        response[0] = 1.0
    return response / np.sqrt(np.square(response).sum())


def _mixed(audio: np.ndarray, other: np.ndarray, ratio_db: float) -> np.ndarray:
    """Add ``other [samples]``, ``ratio_db`` below the level of the clip."""
    level, other_level = (np.sqrt(np.square(x).mean()) + 1e-9 for x in (audio, other))
    return (audio + other * (level / other_level) * 10 ** (-ratio_db / 20)).astype(np.float32)
