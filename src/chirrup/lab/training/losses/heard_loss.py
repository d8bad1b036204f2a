"""How alike two audios are to a model that learned what speech says."""

import torch
from torch import Tensor, nn

from chirrup.errors import ModelError
from chirrup.lab.training.batches.resampling import Resampler
from chirrup.lab.training.distillation.teachers import FRAME_SAMPLES, RATE_HZ, Teacher


class HeardLoss(nn.Module):
    """Distance of a teacher's features of an estimate from those of its target.

    A spectral distance counts what is loud. This one counts what tells sounds of speech apart,
    which matters where bits are few. The teacher is frozen, but its gradient reaches the audio.

    Args:
        layers: of the teacher, counted from 1; none is all.

    Raises:
        ModelError: the teacher has no such layer.
    """

    def __init__(self, teacher: Teacher, sample_rate_hz: int, layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.teacher = teacher
        self.layers = layers or tuple(range(1, teacher.layers + 1))
        if max(self.layers) > teacher.layers:
            raise ModelError(
                f"teacher.layers names layer {max(self.layers)} of the teacher's {teacher.layers}"
            )
        self.to_its_rate = Resampler(sample_rate_hz, RATE_HZ)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Of ``[batch, samples]`` each; a scalar, mean over layers, channels and frames.

        Squared errors, as shares of how much a channel of the target varies: some of a
        transformer's are a hundred times larger than the others. Whole frames are heard only.
        """
        with torch.no_grad():
            wanted = self._features(target)
        made = self._features(estimate)
        errors = [
            (ours - theirs).square().mean((0, 2)) / theirs.var((0, 2)).clamp(min=1e-6)
            for ours, theirs in zip(made, wanted, strict=True)
        ]
        return torch.stack([error.mean() for error in errors]).mean()

    def _features(self, audio: Tensor) -> list[Tensor]:
        with torch.autocast(audio.device.type, enabled=False):
            heard = self.to_its_rate(audio[:, None])[:, 0]
        whole = heard.shape[1] // FRAME_SAMPLES * FRAME_SAMPLES
        layers = self.teacher(heard[:, :whole])
        return [layers[index].float() for index in self.layers]
