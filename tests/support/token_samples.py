"""The recordings of a small corpus, tar files, the content of data sets, and a runner of jobs."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from chirrup.data.workers import Work
from chirrup.tokens.store import NAME
from small_model import speech_like

RATES_HZ = {"a.wav": 24_000, "p1/b.flac": 48_000, "p1/c.flac": 16_000, "z.ogg": 24_000}
"""Recordings of the corpus; p1/b.flac is stereo."""


def recording(name: str) -> np.ndarray:
    """Return ``float32 [samples]`` or ``[samples, 2]``."""
    seed = sorted(RATES_HZ).index(name)
    audio = speech_like(12_000 + 5_000 * seed, seed)
    return np.stack([audio, -0.5 * audio], axis=1) if name == "p1/b.flac" else audio


def file_of(name: str) -> bytes:
    """Return a recording as an audio file."""
    memory = io.BytesIO()
    soundfile.write(memory, recording(name), RATES_HZ[name], format=name.rpartition(".")[2].upper())
    return memory.getvalue()


def tar_of(path: Path, members: dict[str, bytes]) -> dict[str, int]:
    """Write a tar file, and return the positions of the headers."""
    places = {}
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in members.items():
            places[name] = tar.offset
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return places


def in_turn(work: Work, jobs: Iterable[str], crashed: Work | None = None) -> Iterator[str]:
    """A `Run` in this process."""
    return map(work, jobs)


def content(folder: Path) -> dict[str, bytes]:
    """Return all files of a data set except the working file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name != NAME
    }
