"""A look at a model in training: scores, audio and spectrograms of a few whole clips."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab.models import Model
from chirrup.lab.training.config import DataConfig
from chirrup.lab.training.data import from_direct_path, listed, mix, read_mono, reverberate
from chirrup.lab.training.pesq_loss import PESQLoss
from chirrup.lab.training.spectral import stft


@dataclass
class Validation:
    """Mean figures; audio ``[1, samples]`` and pictures ``[height, width]`` of one clip."""

    sample_rate_hz: int
    figures: dict[str, float] = field(default_factory=dict)
    audio: dict[str, Tensor] = field(default_factory=dict)
    spectrograms: dict[str, Tensor] = field(default_factory=dict)


LOWEST_BPS = 1000
NOISE_DB = 5.0
"""Signal-to-noise ratio of the noisy clips."""


def clips(data: DataConfig, sample_rate_hz: int) -> list[tuple[Tensor, Tensor]]:
    """Evenly spread clips of the validation folder: input and target, each ``[1, samples]``.

    A model that enhances gets the first one noisy, the second in a room, the third clean, and so
    on; noises and rooms are evenly spread too.
    """

    def spread(folder: str, count: int) -> list[Tensor]:
        paths = sorted(listed(data.manifest, folder))
        chosen = paths[:: max(1, len(paths) // count)][:count]
        return [torch.from_numpy(read_mono(path, sample_rate_hz))[None] for path in chosen]

    clean = spread(data.validation, data.validation_clips)
    pairs = [(clip, clip) for clip in clean]
    if data.enhance:
        noises = spread(data.validation_noise, len(clean))
        for index, clip in list(enumerate(clean))[::3]:
            noise = noises[index % len(noises)]
            noise = noise.repeat(1, -(-clip.shape[1] // noise.shape[1]))[:, : clip.shape[1]]
            pairs[index] = (mix(clip, noise, torch.tensor(NOISE_DB)), clip)
        rooms = spread(data.rooms, len(clean))
        for index, clip in list(enumerate(clean))[1::3]:
            response = from_direct_path(rooms[index % len(rooms)][0])[None]
            pairs[index] = reverberate(clip, response, sample_rate_hz)
    return pairs


@torch.no_grad()
def validate(model: Model, data: DataConfig) -> Validation:
    """Code the validation clips without quantizer, with all codebooks, and with the fewest.

    PESQ is the differentiable model of `pesq_loss`, which needs no other package.
    """
    rate_hz, delay, frame = model.sample_rate_hz, model.delay_samples, model.frame_samples
    device = next(model.parameters()).device
    pesq = PESQLoss(rate_hz).to(device)
    result = Validation(rate_hz)
    lowest = max(1, round(LOWEST_BPS / model.codebook_bps))
    settings = {"bypass": None, "all": model.codebooks, "lowest": lowest}
    scores: dict[str, list[float]] = {}
    model.eval()
    for index, pair in enumerate(clips(data, rate_hz)):
        heard, target = (clip.to(device) for clip in pair)
        samples = heard.shape[1]
        padded = F.pad(heard, (0, delay + -(samples + delay) % frame))
        latent = model.encoder.offline(padded[:, None])
        outputs = {"input": heard} if data.enhance else {}
        for name, books in settings.items():
            coded = latent
            if books is not None:
                coded = model.quantizer.decode(model.quantizer.encode(latent)[:, :books])
            outputs[name] = model.decoder.offline(coded)[:, 0, delay : delay + samples]
        for name, output in outputs.items():
            scores.setdefault(f"pesq_{name}", []).append(float(pesq.score(output, target)))
            error = (output - target).square().sum()
            snr_db = 10 * torch.log10(target.square().sum() / error.clamp(min=1e-9))
            scores.setdefault(f"snr_db_{name}", []).append(float(snr_db))
        if index == 0:
            for name, output in (outputs | {"original": target}).items():
                result.audio[name] = output.cpu()
                result.spectrograms[name] = picture(output)
    model.train()
    result.figures = {name: sum(values) / len(values) for name, values in scores.items()}
    return result


def picture(audio: Tensor) -> Tensor:
    """Log spectrogram of ``[1, samples]`` over 80 dB, low frequencies at the bottom, 0 to 1."""
    window = torch.hann_window(1024, device=audio.device)
    level_db = 20 * stft(audio, window, 256)[0].abs().clamp(min=1e-6).log10()
    return ((level_db - level_db.max() + 80) / 80).clamp(0, 1).T.flip(0).cpu()
