"""Random batches of augmented audio, made on the training device.

Every operation works on a whole batch. Every random number comes from one generator, which the loop
seeds anew in each step, so a resumed training draws the same batches.
"""

import torch
from torch import Tensor

from chirrup.errors import UsageError
from chirrup.lab.training.batches.mixing import from_direct_path, mix, reverberate
from chirrup.lab.training.batches.recordings import Recordings
from chirrup.lab.training.batches.windows import Places, SlidingWindows
from chirrup.lab.training.data_config import NEEDS_NOISE, NEEDS_ROOMS, Conditions

CONDITIONS = tuple(Conditions.model_fields)
TALKERS_DB = (-5.0, 5.0)
"""Range of the level of the first talker over the second."""


class Sampler:
    """Draws batches of inputs and targets.

    Args:
        speech: recordings to code, at the model's rate, on the training device.
        noise, rooms: recordings of one channel for the conditions that need them, or None. All
            channels of the speech get the same noise and room.
        conditions: relative frequencies of the conditions.
        enhance: whether the target is the speech of all talkers without noise, with only the early
            part of the room response. Otherwise the target is the input.
        speed_range: largest factor by which speed and pitch change, both ways.
        level_db: range of the input's peak level, dB relative to full scale.
        keep_level: whether inputs keep their level and polarity, up to full scale.
        noise_snr_db: range of the signal-to-noise ratio of noisy examples.
        generator: source of all random numbers, on the CPU.

    Raises:
        UsageError: the recordings allow none of the conditions.
    """

    def __init__(
        self,
        speech: Recordings,
        noise: Recordings | None,
        rooms: Recordings | None,
        *,
        sample_rate_hz: int,
        crop_samples: int,
        conditions: Conditions,
        enhance: bool,
        speed_range: float,
        level_db: tuple[float, float],
        keep_level: bool = False,
        noise_snr_db: tuple[float, float],
        generator: torch.Generator,
    ) -> None:
        self.speech, self.noise, self.rooms = speech, noise, rooms
        self.sample_rate_hz, self.crop_samples = sample_rate_hz, crop_samples
        self.enhance = enhance
        self.set_conditions(conditions)
        self.speed_range, self.level_db, self.noise_snr_db = speed_range, level_db, noise_snr_db
        self.keep_level = keep_level
        self.windows: SlidingWindows | None = None
        self.places: Places | None = None
        self.generator = generator
        self.device = speech.audio.device
        self.fast = False

    def set_conditions(self, conditions: Conditions) -> None:
        """Set the relative frequencies of the conditions.

        A condition that needs noise or rooms is left out if the sampler has none.

        Raises:
            UsageError: no condition is left.
        """
        weights = conditions.model_dump()
        for recordings, names in ((self.noise, NEEDS_NOISE), (self.rooms, NEEDS_ROOMS)):
            if recordings is None:
                weights |= dict.fromkeys(names, 0.0)
        if not any(weights.values()):
            raise UsageError(
                f"the corpus has nothing for the conditions {', '.join(conditions.used)}: prepare "
                "noise or rooms too, or give clean speech a weight"
            )
        self.weights = torch.tensor([weights[name] for name in CONDITIONS], dtype=torch.float)

    def uniform(self, batch: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw numbers between ``low`` and ``high``, ``[batch, 1]``, on the device."""
        return (low + (high - low) * torch.rand(batch, 1, generator=self.generator)).to(self.device)

    def crops(
        self,
        recordings: Recordings,
        batch: int,
        speed: Tensor | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """Cut crops, by default at random places.

        A recording is then chosen in proportion to its length. A recording shorter than a crop is
        repeated.

        Args:
            speed: samples to advance in the recording per sample of the crop, ``[batch, 1]``.
            places: recording and first sample of each crop.

        Returns:
            ``[batch, channels, samples]``, all channels from the same place.
        """
        speed = torch.ones(batch, 1, device=self.device) if speed is None else speed
        if places is None:
            ends = recordings.length.cumsum(0)
            place = (self.uniform(batch)[:, 0].double() * ends[-1]).long()
            which = torch.searchsorted(ends, place, right=True)
            spare = recordings.length[which][:, None].double() - self.crop_samples * speed - 1
            start = self.uniform(batch).double() * spare.clamp(min=0)
        else:
            which, start = places[0].to(self.device), places[1].to(self.device)[:, None].double()
        length = recordings.length[which][:, None].double()
        time = torch.arange(self.crop_samples, device=self.device, dtype=torch.float64)
        position = (start + time * speed.double()) % (length - 1)
        position = recordings.start[which][:, None].double() + position
        return recordings.read(position, speed, self.fast)

    def responses(self, batch: int) -> Tensor:
        """Draw room responses that begin with the direct sound, at most a crop long.

        Returns:
            ``[batch, taps]``.
        """
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

    def step_batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Draw the batch of a training step: its sliding windows, if there are any."""
        self.places = None if self.windows is None else self.windows.places(step)
        try:
            return self.batch(size)
        finally:
            self.places = None

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Draw inputs and targets, each ``float32 [size, channels, crop_samples]`` in -1 to 1."""
        kind = torch.multinomial(self.weights, size, True, generator=self.generator)
        low = 1 / self.speed_range
        speed = low * (self.speed_range / low) ** self.uniform(size)
        changed = speed if self.speed_range != 1 else None
        audio = self.crops(self.speech, size, changed, self.places)
        target = audio.clone()

        def rows_of(*names: str) -> Tensor:
            chosen = torch.stack([kind == CONDITIONS.index(name) for name in names]).any(0)
            return chosen.nonzero()[:, 0].to(self.device)

        if len(rows := rows_of(*NEEDS_ROOMS)):
            audio[rows], target[rows] = reverberate(
                audio[rows], self.responses(len(rows))[:, None], self.sample_rate_hz
            )
        if len(rows := rows_of("two_talkers")):
            ratio_db = self.uniform(len(rows), *TALKERS_DB)
            both = mix(audio[rows], self.crops(self.speech, len(rows)), ratio_db[..., None])
            audio[rows] = target[rows] = both
        if len(rows := rows_of(*NEEDS_NOISE)):
            assert self.noise is not None, "a condition with noise has none"
            snr_db = self.uniform(len(rows), *self.noise_snr_db)
            audio[rows] = mix(audio[rows], self.crops(self.noise, len(rows)), snr_db[..., None])
        peak = audio.abs().amax((1, 2), keepdim=True).clamp(min=1e-3)
        if self.keep_level:
            gain = 1 / peak.clamp(min=1)
            return audio * gain, target * gain if self.enhance else audio * gain
        polarity = self.uniform(size).sub(0.5).sign()
        level = polarity * 10 ** (self.uniform(size, *self.level_db) / 20)
        gain = level[..., None] / peak
        audio = audio * gain
        return audio, target * gain if self.enhance else audio
