"""Training FocalCodec-Stream in parts: what a stage compares below the audio, and with what.

The paper's stages (facts, section 1), in the words of a recipe:

| stage | ``train`` | weights | and |
|---|---|---|---|
| decoder | waveform | mel, adversarial, features | ``decodes = "teacher"`` |
| positions | positions | positions | |
| encoder | front, layers | layers | |
| quantizer | compressor, decompressor | own_features, entropy | ``refine = false`` |
| joint | front, layers, compressor, decompressor, refiner | teacher_features, entropy | |
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.errors import ModelError, UsageError
from chirrup.lab.models import Model
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn.harmonic_noise import PITCHES
from chirrup.lab.quantizers.quantizer import Quantized
from chirrup.lab.training.config import FEATURE_TERMS, TEACHER_TERMS, Stage, TrainingConfig
from chirrup.lab.training.distillation.teachers import Teacher
from chirrup.lab.training.distributed import share_parameters
from chirrup.lab.training.losses.pitch import pitch, pitch_loss, with_pitch

OF_TEACHER = TEACHER_TERMS & FEATURE_TERMS
OF_CODES = {"first_features", "own_features", "teacher_features", "entropy"}


@dataclass(frozen=True)
class Made:
    """What a step makes of its batch.

    Attributes:
        audio: ``[batch, channels, samples]``, where a stage makes any.
        quantized: likewise.
        terms: losses that need no audio.
    """

    audio: Tensor | None = None
    quantized: Quantized | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)


class Fit(nn.Module):
    """A teacher's features, brought to as many dimensions as the model's, of unit variance.

    A channel counts by how it varies, not by how large it is: some of a transformer's are a hundred
    times larger than the others. All layers have one map, since each adds to what comes before it,
    and each its own mean.

    Attributes:
        mean: of each layer, ``[layers, teacher_dim]``.
        directions: ``[teacher_dim, dim]``.
        kept: share of the variance of the last layer, channels counted alike, that the directions
            keep.
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
    def start(self, features: list[Tensor]) -> None:
        """From features of each layer ``[batch, teacher_dim, frames]``."""
        rows = [layer.transpose(1, 2).flatten(0, 1).double() for layer in features]
        self.mean.copy_(torch.stack([layer.mean(0) for layer in rows]))
        deviation = rows[-1].std(0).clamp(min=1e-8)
        values, vectors = torch.linalg.eigh(torch.cov((rows[-1] / deviation).T))
        dim = self.directions.shape[1]
        values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
        self.directions.copy_(vectors / deviation[:, None] / values.mean().sqrt())
        self.kept.copy_(values.sum() / len(deviation))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Of each layer ``[batch, teacher_dim, frames]`` to ``[batch, dim, frames]``."""
        fitted = []
        for layer, mean in zip(features, self.mean, strict=True):
            fitted.append(((layer.transpose(1, 2) - mean) @ self.directions).transpose(1, 2))
        return fitted


class Lessons:
    """What the stages of a recipe make of a batch, by parts of the model.

    The terms, each a mean squared error but the last:

    - ``positions``: what the transformer gets, of the teacher's;
    - ``layers``: what each of its layers makes, of the teacher's; the last counts 1, the first 0.5;
    - ``first_features``: what the codes say, of what the transformer gets, which stays as it began
      where ``front`` and ``positions`` are frozen;
    - ``own_features``: the same, of the model's own features;
    - ``teacher_features``: the same, of the teacher's;

    and ``pitch``, the cross-entropy of the pitches that the waveform is to have, if it is a voice.
    Where it counts, pulses have the pitch of the audio itself: harmonics beside the audio's, of a
    pitch that is a little off, would teach the gains to prefer noise.

    Args:
        model: the one in training.
        teacher: the recipe's, if it has one.

    Raises:
        ModelError: the model has no such parts, or the teacher does not fit it.
    """

    def __init__(self, config: TrainingConfig, model: Model, teacher: Teacher | None) -> None:
        stages = [stage for stage in config.stages if stage.teaches]
        names = ", ".join(stage.name for stage in stages)
        if not isinstance(model, FocalCodec):
            raise UsageError(
                f"{config.model} has no features apart from its codes, but the recipe trains "
                f"by them: stage {names}"
            )
        spoken = [stage.name for stage in stages if stage.weights.pitch > 0]
        if spoken and not model.config.voice_bands:
            raise UsageError(
                f"stage {', '.join(spoken)} has a weight for pitch, but {config.model}'s waveform "
                "has none"
            )
        self.model = model
        self.teacher: Teacher | None = None
        self.fit: Fit | None = None
        asked = any(
            stage.weights.positive & OF_TEACHER or stage.decodes == "teacher" for stage in stages
        )
        if not asked or teacher is None or config.teacher is None:
            return
        self.teacher = teacher
        ours = model.config
        self.chosen = config.teacher.layers or tuple(range(1, ours.layers + 1))
        self.hands_over = not config.teacher.fit
        if len(self.chosen) != ours.layers or max(self.chosen) > teacher.layers:
            raise ModelError(
                f"the model has {ours.layers} layers to teach, teacher.layers names "
                f"{len(self.chosen)} of the teacher's {teacher.layers}: name one for each"
            )
        if teacher.dim < ours.dim or (self.hands_over and teacher.dim != ours.dim):
            raise ModelError(
                f"the teacher has {teacher.dim} dimensions, the model {ours.dim}: the model "
                f"must have {'as many, without teacher.fit' if self.hands_over else 'no more'}"
            )
        if config.teacher.fit:
            device = next(model.parameters()).device
            self.fit = Fit(ours.layers + 1, teacher.dim, ours.dim).to(device)

    def start(self, audio: Tensor) -> None:
        """Before training: fit the teacher's features on ``audio [batch, 1, samples]``, or give the
        model its weights."""
        if self.teacher is None:
            return
        if self.fit is not None:
            self.fit.start(self._taught(audio))
            share_parameters(self.fit)
        else:
            self.teacher.copy_weights_to(self.model)

    def state(self) -> dict[str, Tensor]:
        return self.fit.state_dict() if self.fit is not None else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        if self.fit is not None and state:
            self.fit.load_state_dict(state)

    @torch.no_grad()
    def _taught(self, audio: Tensor) -> list[Tensor]:
        assert self.teacher is not None, "checked when the lessons were made"
        layers = self.teacher(audio[:, 0])
        return [layers[index] for index in (0, *self.chosen)]

    @torch.no_grad()
    def targets(self, audio: Tensor) -> list[Tensor]:
        """Of ``[batch, 1, samples]`` what the transformer should get, and each layer make of it:
        ``[batch, dim, frames]`` each."""
        taught = self._taught(audio)
        return taught if self.fit is None else self.fit(taught)

    def __call__(self, audio: Tensor, stage: Stage, bypass: Tensor, present: Tensor) -> Made:
        """What a stage makes of ``audio [batch, 1, samples]``; the rest as `Model.forward` has it.

        Only what the stage asks for is computed.
        """
        wanted, model = stage.weights.positive, self.model
        decodes = stage.decodes if stage.makes_audio else None
        taught, own = [], []
        restored, quantized = None, None
        terms: dict[str, Tensor] = {}
        if wanted & OF_TEACHER or decodes == "teacher":
            taught = self.targets(audio)
        from_codes = bool(wanted & OF_CODES) or decodes == "codes"
        if from_codes or wanted & OF_TEACHER or decodes == "features":
            own = model.features_by_layer(audio)
        if "positions" in wanted:
            terms["positions"] = F.mse_loss(own[0], taught[0])
        if "layers" in wanted:
            share = torch.linspace(0.5, 1, len(own) - 1, device=audio.device)
            errors = [F.mse_loss(ours, theirs) for ours, theirs in zip(own[1:], taught[1:])]
            terms["layers"] = torch.stack(errors) @ share / share.sum()
        if from_codes:
            latent = model.compressor.offline(own[-1])
            quantized = model.quantized(latent, torch.ones(len(audio), device=audio.device))
            free = bypass[:, None, None]
            latent = torch.where(free, model.quantizer.bypassed(latent), quantized.latent)
            restored = model.decompressed(latent * present[:, None], stage.refine)
            if "first_features" in wanted:
                terms["first_features"] = F.mse_loss(restored, own[0].detach())
            if "own_features" in wanted:
                terms["own_features"] = F.mse_loss(restored, own[-1].detach())
            if "teacher_features" in wanted:
                terms["teacher_features"] = F.mse_loss(restored, taught[-1])
        if decodes is None:
            return Made(None, quantized, terms)
        features = restored
        if decodes != "codes":
            features = (own if decodes == "features" else taught)[-1]
        assert features is not None
        controls = model.waveform.controls(features)
        if "pitch" in wanted:
            heard = pitch(audio[:, 0], model.input_rate_hz, model.input_frame_samples)
            scores, gains = controls.tensor_split([PITCHES], dim=1)
            terms["pitch"] = pitch_loss(scores, heard)
            controls = torch.cat([with_pitch(scores, heard), gains], dim=1)
        return Made(model.waveform.layers[-1].offline(controls), quantized, terms)
