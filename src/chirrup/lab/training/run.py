"""What the commands ``chirrup train`` and ``chirrup export`` call."""

import os
import pickle
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from chirrup.lab.export import Parity, export
from chirrup.lab.models import build
from chirrup.lab.training.config import TrainingConfig, load_recipe
from chirrup.lab.training.data import read_mono
from chirrup.lab.training.loop import Trainer
from chirrup.runtime.errors import ModelError

DEMO_CLIP = Path(__file__).parents[2] / "clips" / "joe.flac"


def train(
    recipe: Path,
    out: Path,
    overrides: list[str] | None = None,
    *,
    minutes: float | None = None,
    device: str = "auto",
    fresh: bool = False,
) -> None:
    """Train as a recipe says, into the folder ``out``; go on where a run there has stopped.

    Under ``torchrun`` every process has its own batch; gradients are averaged.

    Args:
        overrides: ``dotted.key=value`` over the recipe.
        minutes: stop after so long, with a checkpoint.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        fresh: begin anew although ``out`` holds a checkpoint. Refused without it if the
            checkpoint is of another model.

    Raises:
        ValueError: the recipe is wrong.
        ModelError: the checkpoint is of another model, or there is no CUDA device.
    """
    config = load_recipe(recipe, overrides or [])
    use_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if use_cuda and not torch.cuda.is_available():
        raise ModelError("there is no CUDA device here: train with --device cpu")
    place = torch.device("cuda", local) if use_cuda else torch.device("cpu")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        dist.init_process_group("nccl" if use_cuda else "gloo")
    if use_cuda:
        torch.cuda.set_device(place)
        torch.backends.cuda.matmul.allow_tf32 = True
    trainer = Trainer(config, out, place)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() and not fresh:
        trainer.restore(checkpoint)
    trainer.run(minutes)
    if several:
        dist.destroy_process_group()


def export_checkpoint(checkpoint: Path, folder: Path, audio: Path | None = None) -> Parity:
    """Export the averaged (EMA) weights of a training to a folder that ``chirrup.load`` takes.

    Args:
        checkpoint: ``checkpoint.pt`` of a training, or its folder.
        audio: a recording on which the export is checked; the bundled clip without it.

    Raises:
        ValueError: the file is no checkpoint, or the graphs would differ from the model.
    """
    path = checkpoint / "checkpoint.pt" if checkpoint.is_dir() else checkpoint
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is not a checkpoint of a chirrup training: {error}") from error
    if not isinstance(saved, dict) or not {"ema", "config", "step", "hours"} <= set(saved):
        raise ValueError(f"{path} is not a checkpoint of a chirrup training")
    config = TrainingConfig.model_validate(saved["config"])
    model = build(config.model)
    try:
        model.load_state_dict(saved["ema"])
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model {config.model}: {error}") from error
    clip: np.ndarray = read_mono(audio or DEMO_CLIP, model.sample_rate_hz)
    card = {"steps": saved["step"], "hours": round(saved["hours"], 2), "recipe": saved["config"]}
    return export(model, config.model, folder, clip[: 5 * model.sample_rate_hz], card)
