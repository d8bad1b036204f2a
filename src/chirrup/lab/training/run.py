"""The function behind the command ``chirrup train``."""

import logging
import os
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist

from chirrup.errors import UsageError
from chirrup.files.drafts import only_one
from chirrup.lab.training.batches.audio_files import list_recordings
from chirrup.lab.training.checks import check_losses
from chirrup.lab.training.config import TrainingConfig, load_recipe
from chirrup.lab.training.loop import Trainer

LOG = logging.getLogger(__name__)


def train(
    recipe: Path | TrainingConfig,
    out: Path,
    overrides: list[str] | None = None,
    *,
    minutes: float | None = None,
    device: str = "auto",
    fresh: bool = False,
    plain: bool = False,
) -> int:
    """Train a recipe in the folder ``out``, or resume the training there.

    Under ``torchrun`` every process draws its own batch, and gradients are averaged.

    Args:
        recipe: a recipe file or its content.
        overrides: changes to a recipe file, ``dotted.key=value``.
        minutes: duration after which the training stops, with a checkpoint.
        device: "auto" (CUDA if available), "cpu" or "cuda".
        fresh: start a new training although ``out`` has a checkpoint.
        plain: compute without fast forms, see `Trainer`.

    Returns:
        Number of steps of the training in ``out``.

    Raises:
        ValueError: the recipe is invalid.
        UsageError: there is no CUDA device, or the recipe does not fit its model or corpus.
        ModelError: the checkpoint is of another model, or the corpus cannot be read.
        FileError: another training uses the folder.
    """
    config = load_recipe(recipe, overrides or []) if isinstance(recipe, Path) else recipe
    use_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if use_cuda and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: train with --device cpu")
    place = torch.device("cuda", local) if use_cuda else torch.device("cpu")
    checkpoint = out / "checkpoint.pt"
    resumes = checkpoint.exists() and not fresh
    check_before_compiling(config, out, resumes)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        dist.init_process_group("nccl" if use_cuda else "gloo")
    if use_cuda:
        torch.cuda.set_device(place)
        torch.backends.cuda.matmul.allow_tf32 = True
    with ExitStack() as stack:
        if int(os.environ.get("RANK", "0")) == 0:
            stack.enter_context(only_one(out, "chirrup train"))
        LOG.info(
            "training %s for %d steps in %s: checkpoint.pt gets the weights, log.jsonl the figures",
            *(config.model, config.steps, out),
        )
        trainer = Trainer(config, out, place, plain=plain)
        if resumes:
            trainer.restore(checkpoint)
            LOG.info("the training goes on from step %d", trainer.step)
        trainer.run(minutes)
    if several:
        dist.destroy_process_group()
    return trainer.step


def check_before_compiling(config: TrainingConfig, out: Path, resumes: bool) -> None:
    """Find faults of a recipe before the fast forms are compiled, which takes minutes.

    Raises:
        UsageError: a new training has no stage, or no losses in the first one.
        ModelError: there is no corpus.
    """
    if not resumes:
        check_losses(config, 0, out)
    data = config.data
    list_recordings(data.manifest, data.speech, data.leave_out, data.licences)
