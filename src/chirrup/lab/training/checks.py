"""Checks of a recipe against its model and the state of its training."""

from difflib import get_close_matches
from pathlib import Path

from chirrup.errors import UsageError
from chirrup.lab.models import Model
from chirrup.lab.training import codebooks
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.distributed import processes
from chirrup.lab.training.validation import score_names


def check_model(config: TrainingConfig, model: Model) -> None:
    """Check that the model has the codebooks and the parts that a recipe names.

    Raises:
        UsageError: it does not.
    """
    counts = {"lowest": config.codes.lowest, "choices": max(config.codes.choices, default=0)}
    for name, count in counts.items():
        if count > model.codebooks:
            raise UsageError(f"codes.{name} must be at most {model.codebooks}, all codebooks")
    parts = model.parts()
    for stage in config.stages:
        if unknown := set(stage.train) - set(parts):
            raise UsageError(
                f"stage {stage.name} is to train {', '.join(sorted(unknown))}: "
                f"{config.model} has {', '.join(parts)}"
            )


def check_selection(config: TrainingConfig, model: Model) -> None:
    """Check that validation computes the scores that a recipe selects checkpoints by.

    Raises:
        UsageError: it does not.
    """
    known = score_names(model, config.data, config.codes.lowest)
    if unknown := [name for name in config.select if name not in known]:
        near = get_close_matches(unknown[0], known, 3, 0.5) or known
        raise UsageError(
            f"select is {unknown[0]!r}, which validation does not compute: use {', '.join(near)}"
        )


def check_losses(config: TrainingConfig, step: int, folder: Path) -> None:
    """Check that a training has a stage, and that the stage of the first step has losses.

    A stage without losses counts the steps of an earlier training.

    Raises:
        UsageError: there is no stage, or it has no loss but the quantizer's.
    """
    if not config.stages:
        raise UsageError("the recipe has no stage: give stages")
    _, stage = config.stage_at(step)
    if step < config.steps and not stage.trains_more_than_codes:
        raise UsageError(
            f"stage {stage.name} has no loss: it counts the steps of an earlier training, whose "
            f"checkpoint.pt must be in {folder}"
        )


def check_crops(
    config: TrainingConfig, model: Model, crop_samples: int, *, starts_codebooks: bool
) -> None:
    """Check that crops are long enough for the losses and for the start of the codebooks.

    Raises:
        UsageError: they are too short.
    """
    longest = max(config.spectra.n_ffts)
    if crop_samples - model.delay_samples < longest:
        raise UsageError(
            f"data.crop_seconds={config.data.crop_seconds:g} is shorter than the longest window of "
            f"the losses, {longest} samples: give longer crops"
        )
    if starts_codebooks:
        crops = config.codes.initialise_batches * config.batch_size * processes()
        codebooks.check_start(model.quantizer, crops * (crop_samples // model.frame_samples))
