"""Training data: a corpus decoded once into memory, and batches drawn and augmented on the device.

Everything is a batched tensor operation, so that the same few lines keep a laptop's CPU or a GPU
busy, and every random number comes from one generator whose state is part of the checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from chirrup.errors import UsageError
from chirrup.lab.fast.interpolation import interpolate as fast_interpolate
from chirrup.lab.training.batches import kept_audio
from chirrup.lab.training.batches.reading import (
    check_length,
    listed,
    read_channels,
    read_jointly,
    read_mono,
)
from chirrup.lab.training.config import NEEDS_NOISE, NEEDS_ROOMS
from chirrup.lab.training.losses.losses import power

SINC_TAPS = 16
"""Taps of the interpolation that changes speed and pitch."""
EARLY_MS = 50
"""What of a room response stays in a target that is to be dry (LRAC challenge, track 2)."""


@dataclass(frozen=True)
class Recordings:
    """Recordings of one kind, one behind the other.

    Attributes:
        audio: ``int16 [channels, samples]``, on the device that trains.
        start: first sample of each recording, ``int64 [recordings]``.
        length: its samples, ``int64 [recordings]``.
    """

    audio: Tensor
    start: Tensor
    length: Tensor

    def to(self, device: torch.device) -> "Recordings":
        return Recordings(self.audio.to(device), self.start.to(device), self.length.to(device))

    def place(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where ``[batch, samples]`` positions in ``audio`` are, a recording in a row: which one it
        is, where it starts, and where it ends, each ``[batch]``."""
        which = torch.searchsorted(self.start, position[:, 0].long(), right=True) - 1
        start = self.start[which]
        return which, start, start + self.length[which]

    def read(self, position: Tensor, whole: bool, fast: bool = False) -> Tensor:
        """Samples at positions in ``audio`` ``[batch, samples]``, a recording in a row.

        Args:
            whole: the positions have no fractions.
            fast: interpolate by the fast form if the recordings are on the CPU.

        Returns:
            ``float32 [batch, channels, samples]``.
        """
        if whole:
            return self.audio[:, position.long()].transpose(0, 1).float() / 32768
        if fast and self.audio.device.type == "cpu":
            _, start, stop = self.place(position)
            return fast_interpolate(self.audio, position, start, stop)
        return interpolate(self, position)


def load_recordings(
    manifest: Path | None,
    folder: str,
    sample_rate_hz: int,
    cache: Path,
    *,
    each_channel: bool = False,
    channels: int | None = None,
    leave_out: Sequence[str] = (),
) -> Recordings:
    """Decode all recordings of ``folder`` that the manifest lists; keep the result in ``cache``.

    They are decoded anew if there are others than last time, if one of them has changed, or if what
    was kept is damaged.

    Args:
        each_channel: every channel is a recording of its own.
        channels: that every recording keeps, as `joined` has them. With neither of the two
            channels are averaged.
        leave_out: as `listed` has it.
    """
    entries = listed(manifest, folder, leave_out)
    kind = "each-" if each_channel else f"{channels}-channels-" if channels else ""
    name = f"{folder.replace('/', '_')}-{sample_rate_hz}-{kind}{kept_audio.key(entries)}.npz"
    kept = cache / name
    found = kept_audio.load(kept, entries, sample_rate_hz, each_channel)
    if found is None:
        audio: list[np.ndarray] = []
        for entry in track(entries, f"decoding {folder}"):
            if each_channel:
                decoded = read_channels(entry, sample_rate_hz)
            elif channels:
                decoded = read_jointly(entry, sample_rate_hz, channels)
            else:
                decoded = read_mono(entry, sample_rate_hz)[None]
            check_length(entry, decoded.shape[1])
            decoded = (decoded.clip(-1, 1) * 32767).astype(np.int16)
            audio += np.split(decoded, len(decoded)) if each_channel else [decoded]
        found = kept_audio.save(kept, audio)
    signal, length = map(torch.from_numpy, found)
    return Recordings(signal, length.cumsum(0) - length, length)


def interpolate(recordings: Recordings, position: Tensor) -> Tensor:
    """Read ``[batch, samples]`` fractional positions (in samples of ``audio``) by windowed sinc.

    A recording goes on with its first and last sample where the sinc looks beyond its ends.

    Returns:
        ``[batch, channels, samples]``.
    """
    _, start, stop = recordings.place(position)
    whole = position.floor()
    taps = torch.arange(SINC_TAPS, device=position.device) - (SINC_TAPS // 2 - 1)
    low, high = start[:, None, None], stop[:, None, None] - 1
    index = (whole.long()[..., None] + taps).clamp(low, high)
    offset = taps - (position - whole).float()[..., None]
    window = 0.5 + 0.5 * torch.cos(torch.pi * offset / (SINC_TAPS // 2))
    weight = torch.sinc(offset) * window / 32768
    return (recordings.audio[:, index].float() * weight).sum(3).transpose(0, 1)


def from_direct_path(response: Tensor) -> Tensor:
    """A room response ``[taps]`` without the way to the microphone."""
    return response[int(response.abs().argmax()) :]


def reverberate(speech: Tensor, responses: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Put speech into rooms.

    Args:
        speech: ``[batch, samples]``, or ``[batch, channels, samples]``.
        responses: room responses, direct path first, ``[batch, taps]`` or ``[batch, 1, taps]``.

    Returns:
        All that comes back, and its early part alone, both as long and as strong as ``speech``.
    """
    early = responses.clone()
    early[..., sample_rate_hz * EARLY_MS // 1000 :] = 0
    size = speech.shape[-1] + responses.shape[-1]
    spectrum = torch.fft.rfft(speech, size)
    level = power(speech)
    rooms = []
    for response in (responses, early):
        heard = torch.fft.irfft(spectrum * torch.fft.rfft(response, size), size)
        heard = heard[..., : speech.shape[-1]]
        rooms.append(heard * (level / power(heard).clamp(min=1e-9)).sqrt())
    return rooms[0], rooms[1]


def mix(speech: Tensor, other: Tensor, ratio_db: Tensor) -> Tensor:
    """Add ``other`` at ``ratio_db`` below ``speech``, each ``[batch, ..., samples]``."""
    level, other_level = (power(x).clamp(min=1e-8).sqrt() for x in (speech, other))
    return speech + other * (level / other_level) * 10 ** (-ratio_db / 20)


class Sampler:
    """Draws batches: clean, noisy, reverberant and two-talker speech, and what is to become of it.

    Args:
        speech, noise, rooms: recordings at the model's rate, on the device; noise and rooms only
            where a condition of a weight above 0 has them. Those have one channel, which all
            channels of the speech get.
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
        self.set_conditions(conditions)
        self.speed_range, self.level_db, self.noise_snr_db = speed_range, level_db, noise_snr_db
        self.generator = generator
        self.device = speech.audio.device
        self.fast = False

    def set_conditions(self, conditions: Sequence[float]) -> None:
        """Draw the conditions with these weights from now on.

        Conditions whose noise or rooms there are none of are not drawn.

        Raises:
            ModelError: no condition is left.
        """
        weights = torch.tensor(conditions, dtype=torch.float)
        for recordings, needed_by in ((self.noise, NEEDS_NOISE), (self.rooms, NEEDS_ROOMS)):
            if recordings is None:
                weights[[kind for kind in needed_by if kind < len(weights)]] = 0
        if not weights.any():
            raise UsageError(
                f"the corpus has nothing for conditions={list(conditions)}: prepare noise or rooms "
                "too, or give clean speech a weight"
            )
        self.conditions = weights

    def uniform(self, batch: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """``[batch, 1]`` on the device."""
        return (low + (high - low) * torch.rand(batch, 1, generator=self.generator)).to(self.device)

    def crops(self, recordings: Recordings, batch: int, speed: Tensor | None = None) -> Tensor:
        """Crops at random places, long recordings as often as they are long.

        A recording shorter than a crop is repeated.

        Returns:
            ``[batch, channels, samples]``, all channels from the same place.
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
        return recordings.read(position, bool((speed == 1).all()), self.fast)

    def responses(self, batch: int) -> Tensor:
        """Room responses, direct path first, cut to a crop's length: ``[batch, taps]``."""
        assert self.rooms is not None, "a condition with rooms has none"
        which = torch.randint(len(self.rooms.length), (batch,), generator=self.generator)
        longest = min(int(self.rooms.length.max()), self.crop_samples)
        rows = []
        for index in which.tolist():
            start, length = int(self.rooms.start[index]), int(self.rooms.length[index])
            response = self.rooms.audio[0, start : start + length].float() / 32768
            response = from_direct_path(response)[:longest]
            rows.append(torch.nn.functional.pad(response, (0, longest - len(response))))
        return torch.stack(rows)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Input and target, each ``float32 [size, channels, crop_samples]`` in -1 to 1."""
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
                audio[rows], self.responses(len(rows))[:, None], self.sample_rate_hz
            )
        if len(rows := of(3)):
            ratio_db = self.uniform(len(rows), -5.0, 5.0)
            both = mix(audio[rows], self.crops(self.speech, len(rows)), ratio_db[..., None])
            audio[rows] = target[rows] = both
        if len(rows := of(1, 4)):
            assert self.noise is not None, "a condition with noise has none"
            snr_db = self.uniform(len(rows), *self.noise_snr_db)
            audio[rows] = mix(audio[rows], self.crops(self.noise, len(rows)), snr_db[..., None])
        peak = audio.abs().amax((1, 2), keepdim=True).clamp(min=1e-3)
        polarity = self.uniform(size).sub(0.5).sign()
        level = polarity * 10 ** (self.uniform(size, *self.level_db) / 20)
        gain = level[..., None] / peak
        audio = audio * gain
        return audio, target * gain if self.enhance else audio
