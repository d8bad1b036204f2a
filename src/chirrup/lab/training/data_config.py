"""The table ``[data]`` of a recipe: audio for training and validation, and its augmentation."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from chirrup.lab.training.fields import Count, Decibels, Pattern, Seconds, Speed, Strict, Weight

NEEDS_NOISE = ("noisy", "noisy_reverberant")
NEEDS_ROOMS = ("reverberant", "noisy_reverberant")


class Conditions(Strict):
    """Relative frequencies of the conditions in which the encoder gets speech."""

    clean: Weight = 0
    noisy: Weight = 0
    reverberant: Weight = 0
    two_talkers: Weight = 0
    noisy_reverberant: Weight = 0

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        """Accept four or five weights in this order, as earlier recipes have them."""
        if isinstance(value, list | tuple):
            if len(value) not in (4, 5):
                raise ValueError("give a table of weights, such as {clean = 1}")
            return dict(zip(cls.model_fields, value))
        return value

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not self.used:
            raise ValueError("give one condition a weight above 0")
        return self

    @property
    def used(self) -> set[str]:
        """Names of the conditions whose weight is above 0."""
        return {name for name, weight in self.model_dump().items() if weight > 0}


class DataConfig(Strict):
    """Audio for training and validation, and its augmentation."""

    manifest: Path | None = None
    """CSV or Parquet file of ``chirrup data prepare``, or any with a column ``path`` relative to
    itself. The next fields name folders in it."""
    speech: str = "speech_train"
    """Recordings to code, speech or music."""
    noise: str = "noise_train"
    rooms: str = "rir"
    """Room impulse responses."""
    validation: str = "speech_test"
    """Recordings for the validation curve, and for the selection of checkpoints (``select``)."""
    leave_out: tuple[Pattern, ...] = ()
    """Patterns of file names to leave out, such as the files of a speaker kept for a test."""
    licences: tuple[Pattern, ...] = ()
    """Patterns of licences, such as ``CC0*``. Recordings with others are not trained on. Without
    patterns, all recordings are. Validation takes all recordings."""
    validation_clips: Count = 12
    """Evenly spaced among the sorted recordings. With 0, nothing is validated."""
    validation_score: Literal["auto", "pesq", "lsd"] = "auto"
    """PESQ is for speech, the log-spectral distance for music. "auto" is PESQ up to 24 kHz. At most
    the middle 10 s of a music clip are scored."""
    cache: Path = Path("runs/cache")
    """Folder for decoded audio."""
    memory_gb: Weight | None = None
    """Recordings of one kind that need more memory, as 16-bit samples, are streamed from their
    files. The default is half of the free memory."""
    channels: Literal["mix", "each", "keep"] = "mix"
    """How recordings of several channels are used: as their average, every channel as a recording,
    or unchanged for a model that codes channels jointly. Validation uses averages unless channels
    are kept. Noise and rooms are always averaged."""
    crop_seconds: Seconds = 1.0
    conditions: Conditions = Conditions(clean=8, noisy=5, reverberant=5, two_talkers=2)
    enhance: bool = False
    """Whether the target is the speech without noise and late reverberation."""
    validation_noise: str = "noise_test"
    """Noise for validation clips of a model that enhances."""
    speed_range: Speed = 1.12
    """Largest factor by which speed and pitch change, both ways."""
    level_db: Decibels = (-24.0, -0.5)
    """Range of the peak level, dB relative to full scale."""
    keep_level: bool = False
    """Whether clips keep their level and polarity. Only peaks above full scale are reduced."""
    epoch_recordings: Count = 0
    """With a value, the clips are windows with half overlap: an epoch has all windows of this many
    random recordings, in random order. With 0, every clip is cut at a random place."""
    noise_snr_db: Decibels = (0.0, 30.0)
    """Range of the signal-to-noise ratio of noisy examples."""
