"""Recordings of tones and noise, and batches of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirrup.lab.training.batches.recordings import Recordings
from chirrup.lab.training.batches.sampler import Sampler
from chirrup.lab.training.data_config import Conditions
from small_model import RATE_HZ

CROP = 4800


def recordings(*signals: Tensor | np.ndarray) -> Recordings:
    tensors = [torch.as_tensor(signal) for signal in signals]
    length = torch.tensor([len(tensor) for tensor in tensors])
    audio = torch.cat([(tensor * 32767).round().to(torch.int16) for tensor in tensors])
    return Recordings(audio[None], length.cumsum(0) - length, length)


def tone(hz: float, samples: int = RATE_HZ, level: float = 0.5) -> Tensor:
    return level * torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE_HZ)


ROOM = torch.zeros(2000)
ROOM[100], ROOM[400], ROOM[1900] = 0.8, -0.4, 0.2


def sampler(seed: int = 0, **changes: Any) -> Sampler:
    settings: dict[str, Any] = {
        "speech": recordings(tone(500)),
        "noise": recordings(tone(3000, level=0.01)),
        "rooms": recordings(ROOM),
        "sample_rate_hz": RATE_HZ,
        "crop_samples": CROP,
        "conditions": Conditions(clean=1),
        "enhance": False,
        "speed_range": 1.0,
        "level_db": (-24.0, -0.5),
        "noise_snr_db": (10.0, 20.0),
        "generator": torch.Generator().manual_seed(seed),
    }
    return Sampler(**settings | changes)


def frequency_hz(audio: Tensor) -> float:
    """Return the frequency of a pure tone, the peak of its spectrum."""
    bins = torch.fft.rfft(audio * torch.hann_window(len(audio)), 1 << 20).abs()
    return float(bins.argmax()) * RATE_HZ / (1 << 20)
