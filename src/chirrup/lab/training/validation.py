"""A look at a model in training: scores, audio and spectrograms of a few whole clips."""

import csv
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab.models import Iris
from chirrup.lab.training.config import DataConfig
from chirrup.lab.training.data import read_mono
from chirrup.lab.training.pesq_loss import PESQLoss
from chirrup.lab.training.spectral import stft


@dataclass
class Validation:
    """Mean figures; audio ``[1, samples]`` and pictures ``[height, width]`` of one clip."""

    sample_rate_hz: int
    figures: dict[str, float] = field(default_factory=dict)
    audio: dict[str, Tensor] = field(default_factory=dict)
    spectrograms: dict[str, Tensor] = field(default_factory=dict)


@lru_cache
def clips(manifest: Path, folder: str, count: int, sample_rate_hz: int) -> list[np.ndarray]:
    """Evenly spread clips of a folder of the manifest, each ``float32 [samples]``."""
    with manifest.open(newline="") as lines:
        paths = [row["path"] for row in csv.DictReader(lines)]
    paths = sorted(path for path in paths if path.startswith(folder + "/"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    return [read_mono(manifest.parent / path, sample_rate_hz) for path in chosen]


@torch.no_grad()
def validate(model: Iris, data: DataConfig) -> Validation:
    """Code the validation clips without quantizer, with all codebooks, and with the fewest.

    PESQ is the differentiable model of `pesq_loss`, which needs no other package.
    """
    rate_hz, delay, frame = model.sample_rate_hz, model.delay_samples, model.frame_samples
    device = next(model.parameters()).device
    pesq = PESQLoss(rate_hz).to(device)
    result = Validation(rate_hz)
    settings = {"bypass": None, "all": model.codebooks, "lowest": 2}
    scores: dict[str, list[float]] = {}
    model.eval()
    for index, clip in enumerate(
        clips(data.manifest, data.validation, data.validation_clips, rate_hz)
    ):
        target = torch.from_numpy(clip)[None].to(device)
        padded = F.pad(target, (0, delay + -(len(clip) + delay) % frame))
        latent = model.encoder.offline(padded[:, None])
        for name, books in settings.items():
            coded = latent
            if books is not None:
                coded = model.quantizer.decode(model.quantizer.encode(latent)[:, :books])
            output = model.decoder.offline(coded)[:, 0, delay : delay + len(clip)]
            scores.setdefault(f"pesq_{name}", []).append(float(pesq.score(output, target)))
            error = (output - target).square().sum()
            snr_db = 10 * torch.log10(target.square().sum() / error.clamp(min=1e-9))
            scores.setdefault(f"snr_db_{name}", []).append(float(snr_db))
            if index == 0:
                result.audio[name] = output.cpu()
                result.spectrograms[name] = picture(output)
        if index == 0:
            result.audio["original"] = target.cpu()
            result.spectrograms["original"] = picture(target)
    model.train()
    result.figures = {name: sum(values) / len(values) for name, values in scores.items()}
    return result


def picture(audio: Tensor) -> Tensor:
    """Log spectrogram of ``[1, samples]`` over 80 dB, low frequencies at the bottom, 0 to 1."""
    window = torch.hann_window(1024, device=audio.device)
    level_db = 20 * stft(audio, window, 256)[0].abs().clamp(min=1e-6).log10()
    return ((level_db - level_db.max() + 80) / 80).clamp(0, 1).T.flip(0).cpu()
