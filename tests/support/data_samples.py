"""Synthetic recordings with known values, and trees of files."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def talk(
    seconds: float = 4.0, rate_hz: int = RATE_HZ, seed: int = 0, pause_share: float = 0.3
) -> np.ndarray:
    """Return words of harmonics and hiss that end abruptly, with silence between, ``float64
    [samples]``.

    They have full bandwidth and an RMS of about 0.1.
    """
    random = np.random.default_rng(seed)
    samples = round(seconds * rate_hz)
    time = np.arange(samples) / rate_hz
    pitch_hz = 110 + 60 * random.random() + 20 * np.sin(2 * np.pi * 1.3 * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voice = sum(np.sin(k * phase + 6 * random.random()) / k for k in range(1, 20))
    hiss = random.standard_normal(samples)
    sounding, at = np.zeros(samples), 0
    while at < samples:
        word = round((0.12 + 0.25 * random.random()) * rate_hz)
        sounding[at : at + word] = 0.5 + random.random()
        at += round(word / (1 - pause_share))
    audio = (voice / np.std(voice) + 0.15 * hiss) * sounding
    return 0.1 * audio / np.sqrt(np.square(audio[sounding > 0]).mean())


def noise(seconds: float = 3.0, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))


def room(rt60_s: float, rate_hz: int = RATE_HZ, seed: int = 0, delay: int = 0) -> np.ndarray:
    """Return a response with a direct path of 1 and a diffuse tail of the same energy, which decays
    by 60 dB."""
    random = np.random.default_rng(seed)
    time_s = np.arange(round(1.3 * rt60_s * rate_hz)) / rate_hz
    tail = random.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    tail[: rate_hz // 500] = 0
    tail /= np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return np.concatenate([np.zeros(delay), tail])


def band_limited(audio: np.ndarray, rate_hz: int, highest_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / rate_hz) > highest_hz] = 0
    return np.fft.irfft(spectrum, len(audio))


def write(path: Path, audio: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate_hz)
    return path


def tree(folder: Path, names: str) -> Path:
    """Create empty files of a data set by name."""
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def here(
    work: Callable[[str], str], jobs: Iterable[str], crashed: Callable[[str], str] | None = None
) -> Iterator[str]:
    """A `workers.Run` without other processes."""
    return map(work, jobs)
