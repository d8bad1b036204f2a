"""Recordings for training: decoded once into memory where they fit, streamed where they do not.

A streamed batch is read at the very places where a decoded one would be, which the numbers drawn
decide alone. So a stopped training goes on exactly, every process has crops of its own, and a
corpus that outgrows the memory changes nothing but the speed.
"""

import logging
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from chirrup.data.manifest import Entry
from chirrup.lab.training.batches.data import SINC_TAPS, Recordings, Sampler, load_recordings
from chirrup.lab.training.batches.reading import check_length, is_listed, joined, listed, opened
from chirrup.lab.training.config import CONDITIONS, NEEDS_NOISE, NEEDS_ROOMS, DataConfig

MARGIN_S = 0.02
"""Read around a piece of a file of another rate, for the resampler to settle."""
SHARE = 0.5
"""Of the free memory, that recordings may take."""
THREADS = 8
"""That decode; they leave Python's lock to each other."""


def sampler_of(
    data: DataConfig,
    sample_rate_hz: int,
    chunk_samples: int,
    generator: torch.Generator,
    device: torch.device,
    channels: int = 1,
) -> Sampler:
    """The sampler that a recipe asks for, for a model of so many joint channels.

    Crops are a whole number of ``chunk_samples``, at least one. What no condition needs is not
    decoded.
    """
    chunks = max(1, round(data.crop_seconds * sample_rate_hz / chunk_samples))

    def load(folder: str, keep: int | None = None) -> Recordings:
        return open_recordings(data, folder, sample_rate_hz, device, keep)

    def found(folder: str, needed_by: Sequence[int]) -> Recordings | None:
        wanted = data.draws(*needed_by) and is_listed(data.manifest, folder)
        return load(folder) if wanted else None

    return Sampler(
        load(data.speech, channels if data.channels == "keep" else None),
        found(data.noise, NEEDS_NOISE),
        found(data.rooms, NEEDS_ROOMS),
        sample_rate_hz=sample_rate_hz,
        crop_samples=chunks * chunk_samples,
        conditions=data.conditions,
        enhance=data.enhance,
        speed_range=data.speed_range,
        level_db=data.level_db,
        noise_snr_db=data.noise_snr_db,
        generator=generator,
    )


def warn_of_lacking(data: DataConfig, sampler: Sampler) -> None:
    """Warn of the conditions of a recipe that the corpus has no noise or rooms for."""
    for folder, recordings, needed_by in (
        (data.noise, sampler.noise, NEEDS_NOISE),
        (data.rooms, sampler.rooms, NEEDS_ROOMS),
    ):
        names = [CONDITIONS[kind] for kind in needed_by if data.draws(kind)]
        if names and recordings is None:
            logging.getLogger(__name__).warning(
                "%s has no recordings in %s/: training goes without %s speech",
                *(data.manifest, folder, ", ".join(names)),
            )


def open_recordings(
    data: DataConfig,
    folder: str,
    sample_rate_hz: int,
    device: torch.device,
    channels: int | None = None,
) -> Recordings:
    """All recordings of a folder of the manifest; rooms, which are short, always in memory.

    Args:
        channels: that every recording keeps; None is as the recipe says.

    Raises:
        ModelError: there are none, or one cannot be read.
    """
    each = data.channels == "each"
    if folder != data.rooms:
        entries = listed(data.manifest, folder, data.leave_out)
        limit = free_bytes(device) * SHARE if data.memory_gb is None else data.memory_gb * 1e9
        seconds = sum(seconds_of(entry, each) for entry in entries) * (channels or 1)
        if 2 * sample_rate_hz * seconds > limit:
            return Streamed.of(
                entries, sample_rate_hz, device, each_channel=each, channels=channels
            )
    return load_recordings(
        data.manifest,
        folder,
        sample_rate_hz,
        data.cache,
        each_channel=each,
        channels=channels,
        leave_out=data.leave_out,
    ).to(device)


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


def seconds_of(entry: Entry, each_channel: bool) -> float:
    """As the manifest says, which may be rounded, or else the file; of all channels or of one."""
    told = {"seconds", "channels"} if each_channel else {"seconds"}
    if told <= entry.facts.keys():
        return float(entry.facts["seconds"]) * (int(entry.facts["channels"]) if each_channel else 1)
    frames, rate_hz, channels = shape_of(entry)
    return frames / rate_hz * (channels if each_channel else 1)


def shape_of(entry: Entry) -> tuple[int, int, int]:
    """Samples of a channel, their rate, and channels: of a shard as its manifest says."""
    if entry.shard and {"seconds", "sample_rate_hz", "channels"} <= entry.facts.keys():
        rate_hz = int(entry.facts["sample_rate_hz"])
        return round(float(entry.facts["seconds"]) * rate_hz), rate_hz, int(entry.facts["channels"])
    with opened(entry) as file:
        return file.frames, file.samplerate, file.channels


@dataclass(frozen=True)
class Streamed(Recordings):
    """Recordings of which only what a batch needs is decoded.

    Attributes:
        audio: empty, on the device; ``start`` and ``length`` are as if all was decoded.
        entries: of each recording.
        channel: which one of the file it is; None for their average, or for all that are kept.
        channels: that every recording keeps; None where it has one.
    """

    entries: Sequence[Entry]
    channel: Sequence[int | None]
    channels: int | None
    sample_rate_hz: int

    @staticmethod
    def of(
        entries: Sequence[Entry],
        sample_rate_hz: int,
        device: torch.device,
        *,
        each_channel: bool = False,
        channels: int | None = None,
    ) -> "Streamed":
        """As `data.load_recordings` would have them."""
        every: list[Entry] = []
        channel: list[int | None] = []
        samples: list[int] = []
        for entry in entries:
            frames, rate_hz, there = shape_of(entry)
            rows = list(range(there)) if each_channel else [None]
            every += [entry] * len(rows)
            channel += rows
            length = int(frames / (rate_hz / sample_rate_hz) + 0.5)  # as soxr
            check_length(entry, length)
            samples += [length] * len(rows)
        lengths = torch.tensor(samples, device=device)
        none = torch.zeros(channels or 1, 0, dtype=torch.int16, device=device)
        start = lengths.cumsum(0) - lengths
        return Streamed(none, start, lengths, every, channel, channels, sample_rate_hz)

    def read(self, position: Tensor, whole: bool, fast: bool = False) -> Tensor:
        which, start, stop = self.place(position)
        first = torch.maximum(position.amin(1).long() - SINC_TAPS, start)
        last = torch.minimum(position.amax(1).long() + SINC_TAPS, stop - 1)
        wanted = (tensor.tolist() for tensor in (which, first - start, last + 1 - start))
        with ThreadPoolExecutor(THREADS) as pool:
            pieces = list(pool.map(self.decode, *wanted))
        length = last + 1 - first
        audio = torch.from_numpy(np.concatenate(pieces, axis=1)).to(position.device)
        held = Recordings(audio, length.cumsum(0) - length, length)
        return held.read(position + (held.start - first)[:, None], whole, fast)

    def decode(self, index: int, first: int, stop: int) -> np.ndarray:
        """Samples ``first`` to ``stop`` of a recording; silence beyond its end.

        Returns:
            ``int16 [channels, samples]``.
        """
        with opened(self.entries[index]) as file:
            step = math.gcd(file.samplerate, self.sample_rate_hz)
            ours, theirs = self.sample_rate_hz // step, file.samplerate // step
            margin = 0 if ours == theirs else math.ceil(MARGIN_S * step)
            begin = max(0, first // ours - margin)
            end = min(file.frames, (-(-stop // ours) + margin) * theirs)
            file.seek(min(begin * theirs, file.frames))
            audio = file.read(max(0, end - begin * theirs), dtype="float32", always_2d=True)
        channel = self.channel[index]
        if self.channels:
            audio = joined(audio.T, self.channels, self.entries[index]).T
        elif channel is None:
            audio = audio.mean(axis=1, keepdims=True)
        else:
            audio = audio[:, [channel]]
        found = soxr.resample(audio, theirs, ours)[first - begin * ours : stop - begin * ours].T
        found = np.pad(found, ((0, 0), (0, stop - first - found.shape[1])))
        return (found.clip(-1, 1) * 32767).astype(np.int16)
