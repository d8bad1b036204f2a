"""Recordings that are decoded batch by batch, for a corpus that does not fit in memory.

A batch is read at the same positions as from decoded recordings, since the sampler's random numbers
alone decide them. So a resumed training gets the same batches, and processes get different ones.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from chirrup.data.manifest import Entry
from chirrup.lab.training.batches.audio_files import check_length, match_channels, open_recording
from chirrup.lab.training.batches.recordings import SINC_TAPS, Recordings

MARGIN_S = 0.02
"""Audio that is read around a piece of a file at another rate, so that the resampler settles."""
THREADS = 8
"""Decoding threads; decoders release Python's lock."""


@dataclass(frozen=True)
class StreamedRecordings(Recordings):
    """Recordings of which a batch decodes only what it needs.

    Attributes:
        audio: empty, on the training device; ``start`` and ``length`` are as if it held all audio.
        entries: the file of each recording.
        channel: the channel of the file that is the recording. None if its channels are averaged,
            or if all of them are kept.
        channels: number of channels that every recording keeps, or None for one.
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
    ) -> "StreamedRecordings":
        """Open recordings; arguments as in `load_recordings`."""
        files: list[Entry] = []
        channel: list[int | None] = []
        samples: list[int] = []
        for entry in entries:
            frames, rate_hz, available = entry_shape(entry)
            rows = list(range(available)) if each_channel else [None]
            files += [entry] * len(rows)
            channel += rows
            resampled = int(frames / (rate_hz / sample_rate_hz) + 0.5)  # as soxr
            check_length(entry, resampled)
            samples += [resampled] * len(rows)
        length = torch.tensor(samples, device=device)
        none = torch.zeros(channels or 1, 0, dtype=torch.int16, device=device)
        start = length.cumsum(0) - length
        return StreamedRecordings(none, start, length, files, channel, channels, sample_rate_hz)

    def read(self, position: Tensor, speed: Tensor, fast: bool = False) -> Tensor:
        which, start, stop = self.locate(position)
        first = torch.maximum(position.amin(1).long() - SINC_TAPS, start)
        last = torch.minimum(position.amax(1).long() + SINC_TAPS, stop - 1)
        wanted = (tensor.tolist() for tensor in (which, first - start, last + 1 - start))
        with ThreadPoolExecutor(THREADS) as pool:
            pieces = list(pool.map(self.decode, *wanted))
        length = last + 1 - first
        audio = torch.from_numpy(np.concatenate(pieces, axis=1)).to(position.device)
        held = Recordings(audio, length.cumsum(0) - length, length)
        return held.read(position + (held.start - first)[:, None], speed, fast)

    def decode(self, index: int, first: int, stop: int) -> np.ndarray:
        """Decode samples ``first`` to ``stop`` of a recording; silence follows its end.

        Returns:
            ``int16 [channels, samples]``.
        """
        with open_recording(self.entries[index]) as file:
            step = math.gcd(file.samplerate, self.sample_rate_hz)
            up, down = self.sample_rate_hz // step, file.samplerate // step
            margin = 0 if up == down else math.ceil(MARGIN_S * step)
            begin = max(0, first // up - margin)
            end = min(file.frames, (-(-stop // up) + margin) * down)
            file.seek(min(begin * down, file.frames))
            audio = file.read(max(0, end - begin * down), dtype="float32", always_2d=True)
        channel = self.channel[index]
        if self.channels:
            audio = match_channels(audio.T, self.channels, self.entries[index]).T
        elif channel is None:
            audio = audio.mean(axis=1, keepdims=True)
        else:
            audio = audio[:, [channel]]
        found = soxr.resample(audio, down, up)[first - begin * up : stop - begin * up].T
        found = np.pad(found, ((0, 0), (0, stop - first - found.shape[1])))
        return (found.clip(-1, 1) * 32767).astype(np.int16)


def entry_seconds(entry: Entry, each_channel: bool) -> float:
    """Return the duration of a recording, or the sum over its channels.

    It is the manifest's duration, which may be rounded, or else the file's.
    """
    needed = {"seconds", "channels"} if each_channel else {"seconds"}
    if needed <= entry.facts.keys():
        return float(entry.facts["seconds"]) * (int(entry.facts["channels"]) if each_channel else 1)
    frames, rate_hz, channels = entry_shape(entry)
    return frames / rate_hz * (channels if each_channel else 1)


def entry_shape(entry: Entry) -> tuple[int, int, int]:
    """Return samples of a channel, sample rate and channels; in a shard, the manifest's."""
    if entry.shard and {"seconds", "sample_rate_hz", "channels"} <= entry.facts.keys():
        rate_hz = int(entry.facts["sample_rate_hz"])
        return round(float(entry.facts["seconds"]) * rate_hz), rate_hz, int(entry.facts["channels"])
    with open_recording(entry) as file:
        return file.frames, file.samplerate, file.channels
