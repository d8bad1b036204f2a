"""How far the audio that a model makes is from what it was to make."""

import torch
from torch import Tensor, nn

from chirrup.lab.training.config import Stage, TrainingConfig
from chirrup.lab.training.distillation.teachers import Teacher
from chirrup.lab.training.losses.heard_loss import HeardLoss
from chirrup.lab.training.losses.losses import SpectralLoss, waveform_loss
from chirrup.lab.training.losses.pesq_loss import PESQLoss

SPECTRAL_TERMS = {"mel", "mel_magnitude", "log_mel", "stft", "complex", "wavefm", "soundstream"}


class Comparison(nn.Module):
    """The terms of a recipe's losses that compare audio, but for those of discriminators.

    Args:
        teacher: whose hearing ``heard`` is, where a stage weighs it.
    """

    def __init__(
        self, config: TrainingConfig, sample_rate_hz: int, teacher: Teacher | None
    ) -> None:
        super().__init__()
        weighed = {name for stage in config.stages for name in stage.weights.positive}
        self.bf16 = config.bf16
        self.spectral = SpectralLoss(sample_rate_hz, config.spectra.n_ffts, config.spectra.mels)
        self.pesq = PESQLoss(sample_rate_hz) if "pesq" in weighed else None
        self.heard = None
        if "heard" in weighed and config.teacher is not None and teacher is not None:
            self.heard = HeardLoss(teacher, sample_rate_hz, config.teacher.layers)

    def forward(self, estimate: Tensor, target: Tensor, stage: Stage) -> dict[str, Tensor]:
        """The stage's terms of non-zero weight, each of ``[batch, samples]`` against the same."""
        wanted = stage.weights.positive
        terms = self.spectral(estimate, target, wanted & SPECTRAL_TERMS)
        if "waveform" in wanted:
            terms["waveform"] = waveform_loss(estimate, target)
        if self.pesq is not None and "pesq" in wanted:
            terms["pesq"] = self.pesq(estimate, target).mean()
        if self.heard is not None and "heard" in wanted:
            with torch.autocast(estimate.device.type, torch.bfloat16, enabled=self.bf16):
                terms["heard"] = self.heard(estimate, target)
        return terms
