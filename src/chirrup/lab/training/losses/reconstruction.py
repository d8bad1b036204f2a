"""The losses that compare decoded audio with its target, without discriminators."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.training.batches.mixing import power
from chirrup.lab.training.config import Stage, TrainingConfig
from chirrup.lab.training.distillation.teachers import Teacher
from chirrup.lab.training.losses.asr_features import ASRFeatureLoss
from chirrup.lab.training.losses.loudness import loudness_difference
from chirrup.lab.training.losses.pesq_loss import PESQLoss
from chirrup.lab.training.losses.repetition import repetition
from chirrup.lab.training.losses.spectral_loss import SpectralLoss

SPECTRAL_TERMS = {"mel", "mel_magnitude", "log_mel", "stft", "complex", "wavefm", "soundstream"}


def normalise_level(estimate: Tensor, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Scale clips so that the target has unit power: quiet clips count as much as loud ones.

    If the target is quieter than a tenth of the level of ``source``, the model's input, that tenth
    is taken instead. All arguments are ``[batch, ..., samples]``; all channels of a clip are scaled
    by one factor.
    """
    level, floor = (power(x).sqrt() for x in (target, source))
    level = torch.maximum(level, 0.1 * floor).clamp(min=1e-3)
    return estimate / level, target / level


class ReconstructionLoss(nn.Module):
    """The spectral, waveform, loudness, repetition, PESQ and ASR-feature losses of a recipe.

    Args:
        teacher: model whose features the loss ``asr_features`` compares.
    """

    def __init__(
        self, config: TrainingConfig, sample_rate_hz: int, teacher: Teacher | None
    ) -> None:
        super().__init__()
        used = {name for stage in config.stages for name in stage.weights.positive}
        self.bf16, self.sample_rate_hz = config.bf16, sample_rate_hz
        self.spectral = SpectralLoss(sample_rate_hz, config.spectra.n_ffts, config.spectra.mels)
        self.pesq = PESQLoss(sample_rate_hz) if "pesq" in used else None
        self.asr_features = None
        if "asr_features" in used and config.teacher is not None and teacher is not None:
            self.asr_features = ASRFeatureLoss(teacher, sample_rate_hz, config.teacher.layers)

    def forward(self, estimate: Tensor, target: Tensor, stage: Stage) -> dict[str, Tensor]:
        """Compute the stage's losses of ``estimate`` against ``target``, both ``[batch, samples]``.

        Returns:
            Unweighted scalars by name.
        """
        wanted = stage.weights.positive
        losses = self.spectral(estimate, target, wanted & SPECTRAL_TERMS)
        if "waveform" in wanted:
            losses["waveform"] = F.l1_loss(estimate, target)
        if "loudness" in wanted:
            difference = loudness_difference(estimate.float(), target, self.sample_rate_hz)
            losses["loudness"] = difference.abs().mean() / 10
        if "repetition" in wanted:
            losses["repetition"] = repetition(estimate.float(), target, self.sample_rate_hz)
        if self.pesq is not None and "pesq" in wanted:
            losses["pesq"] = self.pesq(estimate, target).mean()
        if self.asr_features is not None and "asr_features" in wanted:
            with torch.autocast(estimate.device.type, torch.bfloat16, enabled=self.bf16):
                losses["asr_features"] = self.asr_features(estimate, target)
        return losses
