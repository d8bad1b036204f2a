"""Validation in training: scores, audio and spectrograms of a few whole clips."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.data.manifest import Entry
from chirrup.evaluate.metrics.spectral import lsd, lsd_high, lsd_low
from chirrup.evaluate.metrics.stereo import ild_error, ipd_error
from chirrup.lab.models import Model
from chirrup.lab.training.batches.audio_files import (
    has_recordings,
    list_recordings,
    read_jointly,
    read_mono,
)
from chirrup.lab.training.batches.mixing import from_direct_path, mix, reverberate
from chirrup.lab.training.batches.resampler import Resampler
from chirrup.lab.training.data_config import DataConfig
from chirrup.lab.training.losses.pesq_loss import PESQLoss
from chirrup.lab.training.losses.reconstruction import normalise_level
from chirrup.lab.training.losses.spectral_loss import SpectralLoss
from chirrup.lab.training.losses.stft import stft


@dataclass
class Validation:
    """Mean scores of all clips, and audio and spectrograms of one clip.

    Attributes:
        figures: scores by name.
        audio: average of the channels, ``[1, samples]``, by name.
        spectrograms: images ``[height, width]`` with values from 0 to 1, by name.
    """

    sample_rate_hz: int
    figures: dict[str, float] = field(default_factory=dict)
    audio: dict[str, Tensor] = field(default_factory=dict)
    spectrograms: dict[str, Tensor] = field(default_factory=dict)


LOWEST_BPS = 1000
NOISE_DB = 5.0
"""Signal-to-noise ratio of the noisy clips."""
MUSIC_SECONDS = 10
"""Length of the middle part of a music clip that is scored. Speech is scored whole."""


def score_of(data: DataConfig, sample_rate_hz: int) -> str:
    """Return ``pesq`` or ``lsd``, the score of validation."""
    if data.validation_score != "auto":
        return data.validation_score
    return "pesq" if sample_rate_hz <= 24_000 else "lsd"


def validates(data: DataConfig) -> bool:
    """Return whether a recipe validates and its corpus has recordings for it."""
    return data.validation_clips > 0 and has_recordings(data.manifest, data.validation)


def clips(data: DataConfig, sample_rate_hz: int, channels: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Read evenly spaced clips of the validation folder.

    For a model that enhances, noise is added to the first clip of each three and a room to the
    second, if the corpus has noise and rooms. Noises and rooms are evenly spaced too.

    Returns:
        Pairs of input and target, each ``[1, samples]``, or ``[channels, samples]`` if channels are
        kept.
    """

    def spread(folder: str, count: int) -> list[Entry]:
        entries = sorted(list_recordings(data.manifest, folder))
        count = min(count, len(entries))
        return [entries[index * len(entries) // count] for index in range(count)]

    def mono(entry: Entry) -> Tensor:
        return torch.from_numpy(read_mono(entry, sample_rate_hz))[None]

    def kept(entry: Entry) -> Tensor:
        return torch.from_numpy(read_jointly(entry, sample_rate_hz, channels).copy())

    def middle(clip: Tensor) -> Tensor:
        start = max(0, clip.shape[1] - MUSIC_SECONDS * sample_rate_hz) // 2
        return clip[:, start : start + MUSIC_SECONDS * sample_rate_hz]

    def added(folder: str) -> list[Tensor]:
        found = has_recordings(data.manifest, folder)
        return list(map(mono, spread(folder, len(clean)))) if found else []

    read = kept if data.channels == "keep" else mono
    clean = list(map(read, spread(data.validation, data.validation_clips)))
    if score_of(data, sample_rate_hz) == "lsd":
        clean = [middle(clip) for clip in clean]
    pairs = [(clip, clip) for clip in clean]
    if data.enhance and (noises := added(data.validation_noise)):
        for index, clip in list(enumerate(clean))[::3]:
            noise = noises[index % len(noises)]
            noise = noise.repeat(1, -(-clip.shape[1] // noise.shape[1]))[:, : clip.shape[1]]
            pairs[index] = (mix(clip[None], noise[None], torch.tensor(NOISE_DB))[0], clip)
    if data.enhance and (rooms := added(data.rooms)):
        for index, clip in list(enumerate(clean))[1::3]:
            response = from_direct_path(rooms[index % len(rooms)][0])
            both = reverberate(clip[None], response[None, None], sample_rate_hz)
            pairs[index] = both[0][0], both[1][0]
    return pairs


def codebooks_validated(model: Model, music: bool, fewest: int) -> dict[str, int | None]:
    """Return the number of codebooks of each setting; None bypasses the quantizer."""
    lowest = max(fewest, 1, round(LOWEST_BPS / model.codebook_bps))
    settings: dict[str, int | None] = {"bypass": None, "all": model.codebooks}
    if lowest < model.codebooks:
        settings["lowest"] = lowest
    if music:
        settings["half"] = max(lowest, model.codebooks // 2)
    return settings


def score_names(model: Model, data: DataConfig, fewest: int) -> list[str]:
    """Return the names of the scores of decoded audio that `validate` computes with ``mel``."""
    music = score_of(data, model.sample_rate_hz) == "lsd"
    scores = [*(("lsd", "lsd_low", "lsd_high") if music else ("pesq",)), "snr_db", "log_mel"]
    if model.channels == 2:
        scores += ["ipd_error", "ild_error"]
    settings = codebooks_validated(model, music, fewest)
    return [f"{score}_{setting}" for score in scores for setting in settings]


@torch.no_grad()
def validate(
    model: Model, data: DataConfig, fewest: int = 1, mel: SpectralLoss | None = None
) -> Validation:
    """Code the validation clips without quantizer, with all codebooks, and with the fewest.

    Speech is scored by the PESQ of `PESQLoss`, which needs no other package. Music is scored by the
    log-spectral distances of `chirrup.evaluate`, and coded with half of the codebooks too. Scores
    are means over the channels. Stereo also gets errors of phase and level between channels.

    Args:
        fewest: smallest number of codebooks in training. The number validated gives at least
            `LOWEST_BPS`.
        mel: adds the loss ``log_mel`` at the scales of the recipe, on clips of unit level.
    """
    rate_hz, delay = model.sample_rate_hz, model.delay_samples
    chunk = model.chunk_frames * model.frame_samples
    device = next(model.parameters()).device
    music = score_of(data, rate_hz) == "lsd"
    scores_of = music_scorer(rate_hz) if music else speech_scorer(rate_hz, device)
    result = Validation(rate_hz)
    settings = codebooks_validated(model, music, fewest)
    resampler = Resampler(rate_hz, model.input_rate_hz).to(device)
    scores: dict[str, list[float]] = {}
    model.eval()
    for index, pair in enumerate(clips(data, rate_hz, model.channels)):
        source, target = (model.tiled(clip[None].to(device))[0] for clip in pair)
        samples = source.shape[1]
        padded = F.pad(source, (0, delay + -(samples + delay) % chunk))
        latent = model.encoder.offline(resampler(padded[None]))
        outputs = {"input": source} if data.enhance else {}
        for name, books in settings.items():
            coded = model.quantizer.bypassed(latent)
            if books is not None:
                coded = model.quantizer.decode(model.quantizer.encode(latent)[:, :books])
            outputs[name] = model.decoder.offline(coded)[0, :, delay : delay + samples]
        for name, output in outputs.items():
            error = (output - target).square().sum()
            snr_db = 10 * torch.log10(target.square().sum() / error.clamp(min=1e-9))
            parts = [scores_of(x[None], y[None]) for x, y in zip(output, target, strict=True)]
            for values in (
                *parts,
                channel_errors(output, target, rate_hz),
                {"snr_db": float(snr_db)},
                {"log_mel": log_mel(mel, output, target)} if mel is not None else {},
            ):
                for figure, value in values.items():
                    scores.setdefault(f"{figure}_{name}", []).append(value)
        if index == 0:
            for name, output in (outputs | {"original": target}).items():
                result.audio[name] = output.mean(0, keepdim=True).clamp(-1, 1).cpu()
                result.spectrograms[name] = spectrogram(result.audio[name])
    model.train()
    for name, values in scores.items():
        known = [value for value in values if np.isfinite(value)]
        if known:
            result.figures[name] = sum(known) / len(known)
    return result


def log_mel(mel: SpectralLoss, output: Tensor, target: Tensor) -> float:
    """Compute the mel loss of clips ``[channels, samples]`` at unit level."""
    estimate, original = normalise_level(output[None], target[None], target[None])
    return float(mel(estimate[0], original[0], {"log_mel"})["log_mel"])


Scorer = Callable[[Tensor, Tensor], dict[str, float]]
"""Scores an output against its target, each ``[1, samples]``; NaN if it is undefined."""


def speech_scorer(sample_rate_hz: int, device: torch.device) -> Scorer:
    """Return a scorer of wide-band PESQ."""
    pesq = PESQLoss(sample_rate_hz).to(device)
    return lambda output, target: {"pesq": float(pesq.score(output, target))}


def music_scorer(sample_rate_hz: int) -> Scorer:
    """Return a scorer of the LSD of the whole band, and of its lower and upper half."""

    def scores(output: Tensor, target: Tensor) -> dict[str, float]:
        pair = target[0].cpu().numpy(), output[0].cpu().numpy()
        return {
            metric.__name__: metric(*pair, sample_rate_hz) for metric in (lsd, lsd_low, lsd_high)
        }

    return scores


def channel_errors(output: Tensor, target: Tensor, sample_rate_hz: int) -> dict[str, float]:
    """Compute phase and level errors between two channels ``[2, samples]``; else nothing."""
    if len(target) != 2:
        return {}
    pair = target.cpu().numpy(), output.cpu().numpy()
    return {metric.__name__: metric(*pair, sample_rate_hz) for metric in (ipd_error, ild_error)}


def spectrogram(audio: Tensor) -> Tensor:
    """Draw the log spectrogram of ``[1, samples]``; 80 dB map to 0 to 1, the lowest bin is last."""
    window = torch.hann_window(1024, device=audio.device)
    level_db = 20 * stft(audio, window, 256)[0].abs().clamp(min=1e-6).log10()
    return ((level_db - level_db.max() + 80) / 80).clamp(0, 1).T.flip(0).cpu()
