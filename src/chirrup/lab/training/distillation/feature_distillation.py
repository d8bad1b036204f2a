"""Staged training of FocalCodec-Stream: feature distillation from a teacher.

The paper (arXiv 2509.16195, section 3) trains the model in stages. A recipe describes them so:

| stage | ``train`` | weights | other keys |
|---|---|---|---|
| decoder | waveform | mel, adversarial, features | ``decodes = "teacher"`` |
| positions | positions | positions | |
| encoder | front, layers | layers | |
| quantizer | compressor, decompressor | own_features, entropy | ``refine = false`` |
| joint | front, layers, compressor, decompressor, refiner | teacher_features, entropy | |
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.errors import ModelError, UsageError
from chirrup.lab.models import Model
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn.harmonic_noise import PITCHES
from chirrup.lab.training.batches.code_dropout import CodeDropout
from chirrup.lab.training.config import FEATURE_TERMS, TEACHER_TERMS, Stage, TrainingConfig
from chirrup.lab.training.distillation.teachers import Teacher
from chirrup.lab.training.distributed import broadcast_parameters
from chirrup.lab.training.forward import Forward, StepOutput
from chirrup.lab.training.losses.pitch import pitch, pitch_loss, with_pitch

NEEDS_TEACHER = TEACHER_TERMS & FEATURE_TERMS
NEEDS_CODES = {"first_features", "own_features", "teacher_features", "entropy"}


class FeatureMap(nn.Module):
    """A linear map from a teacher's features to the model's number of dimensions.

    The features are standardised by channel, because some channels of a transformer are a hundred
    times larger than others, and projected on their principal directions. All layers share one
    projection, since each layer adds to the one before it; each has its own mean.

    Attributes:
        mean: mean of each layer, ``[layers, teacher_dim]``.
        directions: projection to unit mean variance, ``[teacher_dim, dim]``.
        kept: share of the last layer's standardised variance that the projection keeps.
    """

    mean: Tensor
    directions: Tensor
    kept: Tensor

    def __init__(self, layers: int, teacher_dim: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(layers, teacher_dim))
        self.register_buffer("directions", torch.eye(teacher_dim, dim))
        self.register_buffer("kept", torch.ones(()))

    @torch.no_grad()
    def fit(self, features: list[Tensor]) -> None:
        """Fit the map to features of each layer, ``[batch, teacher_dim, frames]``."""
        rows = [layer.transpose(1, 2).flatten(0, 1).double() for layer in features]
        self.mean.copy_(torch.stack([layer.mean(0) for layer in rows]))
        deviation = rows[-1].std(0).clamp(min=1e-8)
        values, vectors = torch.linalg.eigh(torch.cov((rows[-1] / deviation).T))
        dim = self.directions.shape[1]
        values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
        self.directions.copy_(vectors / deviation[:, None] / values.mean().sqrt())
        self.kept.copy_(values.sum() / len(deviation))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map ``[batch, teacher_dim, frames]`` of each layer to ``[batch, dim, frames]``."""
        mapped = []
        for layer, mean in zip(features, self.mean, strict=True):
            mapped.append(((layer.transpose(1, 2) - mean) @ self.directions).transpose(1, 2))
        return mapped


class FeatureDistillation(Forward):
    """The forward pass of stages that train parts of FocalCodec-Stream by features.

    All feature losses are mean squared errors:

    | loss | features | target |
    |---|---|---|
    | ``positions`` | input of the transformer | the teacher's |
    | ``layers`` | output of each layer, weighted from 0.5 (first) to 1 (last) | the teacher's |
    | ``first_features`` | decoded from codes | the model's input of the transformer |
    | ``own_features`` | decoded from codes | the model's last features |
    | ``teacher_features`` | decoded from codes | the teacher's last features |

    ``pitch`` is the cross-entropy of the pitch scores of a waveform with voiced excitation. In a
    stage with this loss, the pulses have the pitch of the original audio. With a slightly wrong
    pitch, harmonics beside the original's would make the gains favour noise.

    Args:
        teacher: the recipe's teacher, or None.

    Raises:
        UsageError: the model has no such parts.
        ModelError: the teacher does not fit the model.
    """

    model: FocalCodec

    def __init__(self, config: TrainingConfig, model: Model, teacher: Teacher | None) -> None:
        super().__init__(config.codes, model)
        stages = [stage for stage in config.stages if stage.distils]
        if not isinstance(model, FocalCodec):
            raise UsageError(
                f"{config.model} has no features apart from its codes, but the recipe trains "
                f"by them in stage {', '.join(stage.name for stage in stages)}"
            )
        pitched = [stage.name for stage in stages if stage.weights.pitch > 0]
        if pitched and not model.config.voice_bands:
            raise UsageError(
                f"stage {', '.join(pitched)} has a weight for pitch, but {config.model} has no "
                "voiced excitation: set weights.pitch to 0"
            )
        self.teacher: Teacher | None = None
        self.map: FeatureMap | None = None
        needed = any(
            stage.weights.positive & NEEDS_TEACHER or stage.decodes == "teacher" for stage in stages
        )
        if not needed or teacher is None or config.teacher is None:
            return
        self.teacher = teacher
        student = model.config
        self.chosen = config.teacher.layers or tuple(range(1, student.layers + 1))
        copies = not config.teacher.fit
        if len(self.chosen) != student.layers or max(self.chosen) > teacher.layers:
            raise ModelError(
                f"the model has {student.layers} layers, teacher.layers names {len(self.chosen)} "
                f"of the teacher's {teacher.layers}: name one for each layer of the model"
            )
        if teacher.dim < student.dim or (copies and teacher.dim != student.dim):
            raise ModelError(
                f"the teacher has {teacher.dim} dimensions, the model {student.dim}: the model "
                f"must have {'as many, without teacher.fit' if copies else 'no more'}"
            )
        if not copies:
            device = next(model.parameters()).device
            self.map = FeatureMap(student.layers + 1, teacher.dim, student.dim).to(device)

    def initialise(self, audio: Tensor) -> None:
        """Fit the feature map, or copy the teacher's weights to the model."""
        super().initialise(audio)
        if self.teacher is None:
            return
        if self.map is not None:
            self.map.fit(self._teacher_features(audio))
            broadcast_parameters(self.map)
        else:
            self.teacher.copy_weights_to(self.model)

    def state(self) -> dict[str, Any]:
        mapped = self.map.state_dict() if self.map is not None else {}
        return super().state() | mapped

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        if self.map is None:
            return
        mapped = {name: value for name, value in state.items() if name in self.map.state_dict()}
        if not mapped:
            raise ModelError(
                "the checkpoint has no map of the teacher's features, which is fitted at the first "
                "step: start a new training in another folder, or set the weights "
                f"{', '.join(sorted(NEEDS_TEACHER))} to 0 and decode no features of the teacher"
            )
        self.map.load_state_dict(mapped)

    @torch.no_grad()
    def _teacher_features(self, audio: Tensor) -> list[Tensor]:
        assert self.teacher is not None, "the stage needs no teacher"
        layers = self.teacher(audio[:, 0])
        return [layers[index] for index in (0, *self.chosen)]

    @torch.no_grad()
    def targets(self, audio: Tensor) -> list[Tensor]:
        """Compute the teacher's features of ``audio [batch, 1, samples]``.

        Returns:
            ``[batch, dim, frames]`` for the transformer's input and the output of each layer.
        """
        features = self._teacher_features(audio)
        return features if self.map is None else self.map(features)

    def __call__(self, audio: Tensor, stage: Stage, dropout: CodeDropout) -> StepOutput:
        """Compute what the stage's losses need from ``audio [batch, 1, samples]``."""
        if not stage.distils:
            return super().__call__(audio, stage, dropout)
        wanted, model = stage.weights.positive, self.model
        decodes = stage.decodes if stage.makes_audio else None
        teacher, own = [], []
        restored, quantized = None, None
        losses: dict[str, Tensor] = {}
        if wanted & NEEDS_TEACHER or decodes == "teacher":
            teacher = self.targets(audio)
        from_codes = bool(wanted & NEEDS_CODES) or decodes == "codes"
        if from_codes or wanted & NEEDS_TEACHER or decodes == "features":
            own = model.features_by_layer(audio)
        if "positions" in wanted:
            losses["positions"] = F.mse_loss(own[0], teacher[0])
        if "layers" in wanted:
            share = torch.linspace(0.5, 1, len(own) - 1, device=audio.device)
            errors = [F.mse_loss(x, target) for x, target in zip(own[1:], teacher[1:])]
            losses["layers"] = torch.stack(errors) @ share / share.sum()
        if from_codes:
            latent = model.compressor.offline(own[-1])
            quantized = model.quantized(latent, torch.ones(len(audio), device=audio.device))
            received = model.received(
                latent, quantized, dropout.bypass, dropout.present, self.error(dropout)
            )
            restored = model.decompressed(received, stage.refine)
            if "first_features" in wanted:
                losses["first_features"] = F.mse_loss(restored, own[0].detach())
            if "own_features" in wanted:
                losses["own_features"] = F.mse_loss(restored, own[-1].detach())
            if "teacher_features" in wanted:
                losses["teacher_features"] = F.mse_loss(restored, teacher[-1])
        if decodes is None:
            return StepOutput(None, quantized, losses)
        features = restored
        if decodes != "codes":
            features = (own if decodes == "features" else teacher)[-1]
        assert features is not None
        controls = model.waveform.controls(features)
        if "pitch" in wanted:
            original = pitch(audio[:, 0], model.input_rate_hz, model.input_frame_samples)
            scores, gains = controls.tensor_split([PITCHES], dim=1)
            losses["pitch"] = pitch_loss(scores, original)
            controls = torch.cat([with_pitch(scores, original), gains], dim=1)
        return StepOutput(model.waveform.layers[-1].offline(controls), quantized, losses)
