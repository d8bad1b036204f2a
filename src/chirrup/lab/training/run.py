"""The function behind the command ``chirrup train``."""

import logging
import os
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist

from chirrup.errors import UsageError
from chirrup.files.drafts import only_one
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
