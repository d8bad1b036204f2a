"""What the commands ``chirrup train`` and ``chirrup export`` call."""

import json
import os
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist

import chirrup
from chirrup.errors import UsageError
from chirrup.files.drafts import only_one, open_scratch
from chirrup.lab.export.export import export
from chirrup.lab.export.int8 import export_int8, export_int8_storage
from chirrup.lab.export.parity import Parity
from chirrup.lab.models import build
from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.released.focalcodec import from_pretrained, is_released, name_of
from chirrup.lab.released.spectrostream import import_spectrostream, is_spectrostream
from chirrup.lab.training.batches.reading import read_mono
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.config import TrainingConfig, load_recipe
from chirrup.lab.training.loop import Trainer

DEMO_CLIP = Path(__file__).parents[2] / "clips" / "joe.flac"


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
    """Train as a recipe says, into the folder ``out``; go on where a run there has stopped.

    Under ``torchrun`` every process has its own batch; gradients are averaged.

    Args:
        recipe: a file, or what it holds.
        overrides: ``dotted.key=value`` over a recipe's file.
        minutes: stop after so long, with a checkpoint.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        fresh: begin anew although ``out`` holds a checkpoint. Refused without it if the
            checkpoint is of another model.
        plain: compute without the fast forms, as `Trainer` has it.

    Returns:
        Steps that the run in ``out`` has made.

    Raises:
        ValueError: the recipe is wrong.
        ModelError: the checkpoint is of another model, or there is no CUDA device.
        FileError: another training is at work in the folder.
    """
    config = load_recipe(recipe, overrides or []) if isinstance(recipe, Path) else recipe
    use_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if use_cuda and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: train with --device cpu")
    place = torch.device("cuda", local) if use_cuda else torch.device("cpu")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        dist.init_process_group("nccl" if use_cuda else "gloo")
    if use_cuda:
        torch.cuda.set_device(place)
        torch.backends.cuda.matmul.allow_tf32 = True
    with ExitStack() as stack:
        if int(os.environ.get("RANK", "0")) == 0:
            stack.enter_context(only_one(out, "chirrup train"))
        trainer = Trainer(config, out, place, plain=plain)
        checkpoint = out / "checkpoint.pt"
        if checkpoint.exists() and not fresh:
            trainer.restore(checkpoint)
        trainer.run(minutes)
    if several:
        dist.destroy_process_group()
    return trainer.step


def export_checkpoint(
    checkpoint: Path, folder: Path, audio: Path | None = None, *, compact: bool = False
) -> Parity:
    """Export the averaged (EMA) weights of a training to a folder that ``chirrup.load`` takes.

    Args:
        checkpoint: ``checkpoint.pt`` of a training, or its folder; or a folder with a released
            checkpoint of FocalCodec-Stream or SpectroStream.
        audio: a recording on which the export is checked; the bundled clip without it.
        compact: weights rounded to 8 bits, in half the bytes; released ones stay as they are.

    Raises:
        ValueError: the file is no checkpoint, or the graphs would differ from the model.
    """
    if is_released(checkpoint) or is_spectrostream(checkpoint):
        return export_released(checkpoint, folder, audio)
    saved = load_checkpoint(checkpoint)
    model, name = trained_model(saved), saved["config"]["model"]
    recipe = saved["config"] | {"data": _without_paths(saved["config"]["data"])}
    card = {"steps": saved["step"], "hours": round(saved["hours"], 2), "recipe": recipe}
    lowest = TrainingConfig.model_validate(saved["config"]).codes.lowest
    clip = excerpt(audio, model.input_rate_hz)
    return export(model, name, folder, clip, card, lowest=lowest, compact=compact)


def _without_paths(data: dict[str, Any]) -> dict[str, Any]:
    """The data of a recipe but for what is on one machine only."""
    return {key: value for key, value in data.items() if key not in ("manifest", "cache")}


def export_released(released: Path, folder: Path, audio: Path | None = None) -> Parity:
    """Export a released checkpoint, its weights as they are.

    Args:
        released: a folder with ``config.json`` and ``model.safetensors`` of FocalCodec-Stream, or
            with the files of SpectroStream (`importing.FILES`).
    """
    if is_spectrostream(released):
        name, card = "spectro", {"released": "SpectroStream of Magenta RealTime 2"}
        model = build(name)
        import_spectrostream(cast(SpectroStream, model), released)
    else:
        model = from_pretrained(released)
        name = name_of(model.config)
        card = {"released": json.loads((released / "config.json").read_text())}
    return export(model, name, folder, excerpt(audio, model.input_rate_hz), card, exact=True)


def export_in_eight_bits(
    source: Path, folder: Path, parts: Collection[str], audio: Path | None = None
) -> Parity:
    """Export with weights of 8 bits in some parts, as `export_int8` has it.

    Args:
        source: a model's folder, or what `export_checkpoint` takes.
        parts: none of them to have all weights stored in 8 bits, as `export_int8_storage` has it.
    """
    if not (source / "model.json").is_file():
        if not parts and not is_released(source) and not is_spectrostream(source):
            return export_checkpoint(source, folder, audio, compact=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open_scratch(folder) as whole:
            export_checkpoint(source, whole, audio)
            return export_in_eight_bits(whole, folder, parts, audio)
    clip = excerpt(audio, chirrup.load(source).input_rate_hz)
    if not parts:
        return export_int8_storage(source, folder, clip)
    return export_int8(source, folder, parts, clip)


def excerpt(audio: Path | None, rate_hz: int) -> np.ndarray:
    """The first five seconds of a recording, or of the bundled clip: ``float32 [samples]``."""
    return read_mono(audio or DEMO_CLIP, rate_hz)[: 5 * rate_hz]
