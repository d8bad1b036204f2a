"""Training data: a corpus decoded once into memory, and batches drawn and augmented on the device.

Everything is a batched tensor operation, so that the same few lines keep a laptop's CPU or a GPU
busy, and every random number comes from one generator whose state is part of the checkpoint.
"""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from rich.progress import track
from torch import Tensor

from chirrup.lab.training.config import DataConfig

SINC_TAPS = 16
"""Taps of the interpolation that changes speed and pitch."""
EARLY_MS = 50
"""What of a room response stays in a target that is to be dry (LRAC challenge, track 2)."""


@dataclass(frozen=True)
class Recordings:
    """Recordings of one kind, one behind the other.

    Attributes:
        audio: ``int16 [samples]``, on the device that trains.
        start: first sample of each recording, ``int64 [recordings]``.
        length: its samples, ``int64 [recordings]``.
    """

    audio: Tensor
    start: Tensor
    length: Tensor

    def to(self, device: torch.device) -> "Recordings":
        return Recordings(self.audio.to(device), self.start.to(device), self.length.to(device))


def read_mono(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Any format soundfile reads, mixed to mono and resampled: ``float32 [samples]``."""
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(audio.mean(axis=1), rate_hz, sample_rate_hz)


def read_channels(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Likewise, but each channel: ``float32 [channels, samples]``."""
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(audio, rate_hz, sample_rate_hz).T


def listed(manifest: Path, folder: str) -> list[Path]:
    """Files of a folder of the manifest.

    Raises:
        ValueError: there are none.
    """
    with manifest.open(newline="") as lines:
        paths = [row["path"] for row in csv.DictReader(lines)]
    found = [manifest.parent / path for path in paths if path.startswith(folder + "/")]
    if not found:
        raise ValueError(f"{manifest} lists no file in {folder}/")
    return found


def load_recordings(
    manifest: Path,
    folder: str,
    sample_rate_hz: int,
    cache: Path,
    *,
    each_channel: bool = False,
    leave_out: Sequence[str] = (),
) -> Recordings:
    """Decode all files of ``folder`` that the manifest lists; keep the result in ``cache``.

    The manifest is a CSV file with a column ``path``, relative to the manifest's own folder.
    Other paths than last time are decoded anew; a file that changed under its name is not noticed.

    Args:
        each_channel: every channel is a recording of its own; else they are averaged.
        leave_out: patterns of names of files that are not to be in it.
    """
    paths = [path for path in listed(manifest, folder) if not any(map(path.match, leave_out))]
    content = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()[:8]
    each = "each-" if each_channel else ""
    kept = cache / f"{folder.replace('/', '_')}-{sample_rate_hz}-{each}{content}.npz"
    if not kept.exists():
        audio: list[np.ndarray] = []
        for path in track(paths, f"decoding {folder}"):
            read = read_channels if each_channel else read_mono
            decoded = np.atleast_2d(read(path, sample_rate_hz)).clip(-1, 1)
            audio += list((decoded * 32767).astype(np.int16))
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.npz")  # processes may come here at the same time
        np.savez(
            part,
            audio=np.concatenate(audio),
            length=np.array([len(x) for x in audio]),
        )
        part.rename(kept)
    arrays = np.load(kept)
    length = torch.from_numpy(arrays["length"])
    return Recordings(torch.from_numpy(arrays["audio"]), length.cumsum(0) - length, length)


def interpolate(recordings: Recordings, position: Tensor) -> Tensor:
    """Read ``[batch, samples]`` fractional positions (in samples of ``audio``) by windowed sinc."""
    whole = position.floor()
    taps = torch.arange(SINC_TAPS, device=position.device) - (SINC_TAPS // 2 - 1)
    index = (whole.long()[..., None] + taps).clamp(0, recordings.audio.shape[0] - 1)
    offset = taps - (position - whole).float()[..., None]
    window = 0.5 + 0.5 * torch.cos(torch.pi * offset / (SINC_TAPS // 2))
    return (recordings.audio[index].float() * (torch.sinc(offset) * window)).sum(2) / 32768


def from_direct_path(response: Tensor) -> Tensor:
    """A room response ``[taps]`` without the way to the microphone."""
    return response[int(response.abs().argmax()) :]


def reverberate(speech: Tensor, responses: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Put speech into rooms.

    Args:
        speech: ``[batch, samples]``.
        responses: room responses, direct path first, ``[batch, taps]``.

    Returns:
        All that comes back, and its early part alone, both as long and as strong as ``speech``.
    """
    early = responses.clone()
    early[:, sample_rate_hz * EARLY_MS // 1000 :] = 0
    size = speech.shape[1] + responses.shape[1]
    spectrum = torch.fft.rfft(speech, size)
    level = speech.square().mean(1, keepdim=True)
    rooms = []
    for response in (responses, early):
        heard = torch.fft.irfft(spectrum * torch.fft.rfft(response, size), size)
        heard = heard[:, : speech.shape[1]]
        rooms.append(heard * (level / heard.square().mean(1, keepdim=True).clamp(min=1e-9)).sqrt())
    return rooms[0], rooms[1]


def mix(speech: Tensor, other: Tensor, ratio_db: Tensor) -> Tensor:
    """Add ``other`` at ``ratio_db`` below ``speech``, each ``[batch, samples]``."""
    level = speech.square().mean(1, keepdim=True).clamp(min=1e-8).sqrt()
    other_level = other.square().mean(1, keepdim=True).clamp(min=1e-8).sqrt()
    return speech + other * (level / other_level) * 10 ** (-ratio_db / 20)


class Sampler:
    """Draws batches: clean, noisy, reverberant and two-talker speech, and what is to become of it.

    Args:
        speech, noise, rooms: recordings at the model's rate, on the device; noise and rooms only
            where a condition of a weight above 0 has them.
        conditions: weights of clean, noisy, reverberant, two talkers, noisy and reverberant.
        enhance: the target is speech, of both talkers, without noise, with the early part of the
            room alone; otherwise it is the input.
        speed_range: speed and pitch change by up to this factor, both ways.
        level_db: range of the peak level of the speech, dB below full scale.
        noise_snr_db: range of the signal-to-noise ratio of the noisy examples.
        generator: source of every random number, on the CPU.
    """

    def __init__(
        self,
        speech: Recordings,
        noise: Recordings | None,
        rooms: Recordings | None,
        *,
        sample_rate_hz: int,
        crop_samples: int,
        conditions: Sequence[float],
        enhance: bool,
        speed_range: float,
        level_db: tuple[float, float],
        noise_snr_db: tuple[float, float],
        generator: torch.Generator,
    ) -> None:
        self.speech, self.noise, self.rooms = speech, noise, rooms
        self.sample_rate_hz, self.crop_samples = sample_rate_hz, crop_samples
        self.enhance = enhance
        self.weigh(conditions)
        self.speed_range, self.level_db, self.noise_snr_db = speed_range, level_db, noise_snr_db
        self.generator = generator
        self.device = speech.audio.device

    def weigh(self, conditions: Sequence[float]) -> None:
        """Draw the conditions with these weights from now on."""
        self.conditions = torch.tensor(conditions, dtype=torch.float)

    def uniform(self, batch: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """``[batch, 1]`` on the device."""
        return (low + (high - low) * torch.rand(batch, 1, generator=self.generator)).to(self.device)

    def crops(self, recordings: Recordings, batch: int, speed: Tensor | None = None) -> Tensor:
        """Crops at random places, long recordings as often as they are long: ``[batch, samples]``.

        A recording shorter than a crop is repeated.
        """
        ends = recordings.length.cumsum(0)
        place = (self.uniform(batch)[:, 0].double() * ends[-1]).long()
        which = torch.searchsorted(ends, place, right=True)
        length = recordings.length[which][:, None].double()
        speed = torch.ones(batch, 1, device=self.device) if speed is None else speed
        spare = (length - self.crop_samples * speed - 1).clamp(min=0)
        time = torch.arange(self.crop_samples, device=self.device, dtype=torch.float64)
        position = (self.uniform(batch).double() * spare + time * speed.double()) % (length - 1)
        position = recordings.start[which][:, None].double() + position
        if bool((speed == 1).all()):
            return recordings.audio[position.long()].float() / 32768
        return interpolate(recordings, position)

    def responses(self, batch: int) -> Tensor:
        """Room responses, direct path first, cut to a crop's length: ``[batch, taps]``."""
        assert self.rooms is not None, "a condition with rooms has none"
        which = torch.randint(len(self.rooms.length), (batch,), generator=self.generator)
        longest = min(int(self.rooms.length.max()), self.crop_samples)
        rows = []
        for index in which.tolist():
            start, length = int(self.rooms.start[index]), int(self.rooms.length[index])
            response = self.rooms.audio[start : start + length].float() / 32768
            response = from_direct_path(response)[:longest]
            rows.append(torch.nn.functional.pad(response, (0, longest - len(response))))
        return torch.stack(rows)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Input and target, each ``float32 [size, 1, crop_samples]`` in -1 to 1."""
        kind = torch.multinomial(self.conditions, size, True, generator=self.generator)
        low = 1 / self.speed_range
        speed = low * (self.speed_range / low) ** self.uniform(size)
        audio = self.crops(self.speech, size, speed if self.speed_range != 1 else None)
        target = audio.clone()

        def of(*kinds: int) -> Tensor:
            chosen = torch.stack([kind == one for one in kinds]).any(0)
            return chosen.nonzero()[:, 0].to(self.device)

        if len(rows := of(2, 4)):
            audio[rows], target[rows] = reverberate(
                audio[rows], self.responses(len(rows)), self.sample_rate_hz
            )
        if len(rows := of(3)):
            ratio_db = self.uniform(len(rows), -5.0, 5.0)
            both = mix(audio[rows], self.crops(self.speech, len(rows)), ratio_db)
            audio[rows] = target[rows] = both
        if len(rows := of(1, 4)):
            assert self.noise is not None, "a condition with noise has none"
            snr_db = self.uniform(len(rows), *self.noise_snr_db)
            audio[rows] = mix(audio[rows], self.crops(self.noise, len(rows)), snr_db)
        peak = audio.abs().amax(1, keepdim=True).clamp(min=1e-3)
        polarity = self.uniform(size).sub(0.5).sign()
        gain = polarity * 10 ** (self.uniform(size, *self.level_db) / 20) / peak
        audio = (audio * gain)[:, None]
        return audio, (target * gain)[:, None] if self.enhance else audio


def sampler_of(
    data: DataConfig,
    sample_rate_hz: int,
    chunk_samples: int,
    generator: torch.Generator,
    device: torch.device,
) -> Sampler:
    """The sampler that a recipe asks for; what no condition needs is not decoded.

    Crops are a whole number of ``chunk_samples``, at least one.
    """
    chunks = max(1, round(data.crop_seconds * sample_rate_hz / chunk_samples))

    def load(folder: str) -> Recordings:
        each = data.channels == "each"
        return load_recordings(
            data.manifest,
            folder,
            sample_rate_hz,
            data.cache,
            each_channel=each,
            leave_out=data.leave_out,
        ).to(device)

    return Sampler(
        load(data.speech),
        load(data.noise) if data.has_noise else None,
        load(data.rooms) if data.has_rooms else None,
        sample_rate_hz=sample_rate_hz,
        crop_samples=chunks * chunk_samples,
        conditions=data.conditions,
        enhance=data.enhance,
        speed_range=data.speed_range,
        level_db=data.level_db,
        noise_snr_db=data.noise_snr_db,
        generator=generator,
    )
