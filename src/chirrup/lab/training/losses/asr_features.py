"""A loss over the features of a speech recogniser."""

import torch
from torch import Tensor, nn

from chirrup.errors import ModelError
from chirrup.lab.training.batches.resampler import Resampler
from chirrup.lab.training.distillation.teachers import FRAME_SAMPLES, RATE_HZ, Teacher


class ASRFeatureLoss(nn.Module):
    """Distance between a teacher's features of decoded audio and of its target.

    A spectral loss is dominated by loud bins. This loss weights the differences that distinguish
    speech sounds, which matters at low bitrates. The teacher is frozen; the gradient passes through
    it to the audio.

    Args:
        layers: layers of the teacher to compare, counted from 1, by default all.

    Raises:
        ModelError: the teacher has no such layer.
    """

    def __init__(self, teacher: Teacher, sample_rate_hz: int, layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.teacher = teacher
        self.layers = layers or tuple(range(1, teacher.layers + 1))
        if max(self.layers) > teacher.layers:
            raise ModelError(
                f"teacher.layers names layer {max(self.layers)}, the teacher has {teacher.layers}"
            )
        self.to_teacher_rate = Resampler(sample_rate_hz, RATE_HZ)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of ``[batch, samples]``, a scalar.

        Squared errors are divided by the variance of each channel of the target, because some
        channels of a transformer are a hundred times larger than others. The result is the mean
        over layers, channels and frames. Samples after the last whole frame are ignored.
        """
        with torch.no_grad():
            wanted = self._features(target)
        errors = [
            (x - y).square().mean((0, 2)) / y.var((0, 2)).clamp(min=1e-6)
            for x, y in zip(self._features(estimate), wanted, strict=True)
        ]
        return torch.stack([error.mean() for error in errors]).mean()

    def _features(self, audio: Tensor) -> list[Tensor]:
        with torch.autocast(audio.device.type, enabled=False):
            resampled = self.to_teacher_rate(audio[:, None])[:, 0]
        whole = resampled.shape[1] // FRAME_SAMPLES * FRAME_SAMPLES
        layers = self.teacher(resampled[:, :whole])
        return [layers[index].float() for index in self.layers]
