"""Recordings for training: decoded once into memory where they fit, streamed where they do not.

A streamed batch is read at the very places where a decoded one would be, which the numbers drawn
decide alone. So a stopped training goes on exactly, every process has crops of its own, and a
corpus that outgrows the memory changes nothing but the speed.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from chirrup.data.manifest import Entry
from chirrup.lab.training.config import DataConfig
from chirrup.lab.training.data import SINC_TAPS, Recordings, listed, load_recordings

MARGIN_S = 0.02
"""Read around a piece of a file of another rate, for the resampler to settle."""
SHARE = 0.5
"""Of the free memory, that recordings may take."""
THREADS = 8
"""That decode; they leave Python's lock to each other."""


def open_recordings(
    data: DataConfig, folder: str, sample_rate_hz: int, device: torch.device
) -> Recordings:
    """All recordings of a folder of the manifest; rooms, which are short, always in memory.

    Raises:
        ValueError: there are none.
    """
    entries = listed(data.manifest, folder)
    limit = free_bytes(device) * SHARE if data.memory_gb is None else data.memory_gb * 1e9
    if folder != data.rooms and 2 * sample_rate_hz * sum(map(seconds_of, entries)) > limit:
        return Streamed.of(entries, sample_rate_hz, device)
    return load_recordings(data.manifest, folder, sample_rate_hz, data.cache).to(device)


def free_bytes(device: torch.device) -> float:
    """Of the device's memory; that of the machine is shared evenly by its processes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    return free / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def seconds_of(entry: Entry) -> float:
    """As the manifest says, or else the file."""
    if "seconds" in entry.facts:
        return float(entry.facts["seconds"])
    with entry.open() as file:
        about = soundfile.info(file)
    return about.frames / about.samplerate


@dataclass(frozen=True)
class Streamed(Recordings):
    """Recordings of which only what a batch needs is decoded.

    Attributes:
        audio: empty, on the device; ``start`` and ``length`` are as if all was decoded.
    """

    entries: tuple[Entry, ...]
    sample_rate_hz: int

    @staticmethod
    def of(entries: list[Entry], sample_rate_hz: int, device: torch.device) -> "Streamed":
        length = torch.tensor([round(seconds_of(entry) * sample_rate_hz) for entry in entries])
        start = length.cumsum(0) - length
        none = torch.zeros(0, dtype=torch.int16, device=device)
        return Streamed(none, start.to(device), length.to(device), tuple(entries), sample_rate_hz)

    def read(self, position: Tensor, whole: bool) -> Tensor:
        place = position.cpu()
        start, length = self.start.cpu(), self.length.cpu()
        which = torch.searchsorted(start, place[:, 0].long(), right=True) - 1
        low, high = start[which], start[which] + length[which]
        first = torch.maximum(place.amin(1).long() - SINC_TAPS, low)
        stop = torch.minimum(place.amax(1).long() + 1 + SINC_TAPS, high)
        wanted = zip(which.tolist(), (first - low).tolist(), (stop - low).tolist())
        with ThreadPoolExecutor(THREADS) as pool:
            pieces = list(pool.map(lambda one: self.decode(*one), wanted))
        size = stop - first
        offset = size.cumsum(0) - size
        audio = torch.from_numpy(np.concatenate(pieces)).to(self.audio.device)
        held = Recordings(audio, offset.to(audio.device), size.to(audio.device))
        return held.read(position + (offset - first).to(audio.device)[:, None], whole)

    def decode(self, index: int, first: int, stop: int) -> np.ndarray:
        """Samples ``first`` to ``stop`` of a recording, ``int16``; silence beyond its end."""
        with self.entries[index].open() as source, soundfile.SoundFile(source) as file:
            step = math.gcd(file.samplerate, self.sample_rate_hz)
            ours, theirs = self.sample_rate_hz // step, file.samplerate // step
            margin = 0 if ours == theirs else round(MARGIN_S * step)
            begin = max(0, first // ours - margin)
            end = min(file.frames, (-(-stop // ours) + margin) * theirs)
            file.seek(min(begin * theirs, file.frames))
            audio = file.read(max(0, end - begin * theirs), dtype="float32", always_2d=True)
        mono = soxr.resample(audio.mean(axis=1), theirs, ours)
        found = mono[first - begin * ours : stop - begin * ours]
        found = np.pad(found, (0, stop - first - len(found)))
        return (found.clip(-1, 1) * 32767).astype(np.int16)
