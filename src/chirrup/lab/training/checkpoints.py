"""What a training leaves: its checkpoint, read again, as a model, or packed for the next one."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from chirrup.files.drafts import written
from chirrup.files.errors import FileError
from chirrup.lab.models import Model, build, earlier_fields
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.weights import load_weights
from chirrup.runtime.errors import ModelError

VERSION = 2
"""Of what a checkpoint holds. The first version did not name its version."""


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """``checkpoint.pt`` of a training, or of its folder.

    Raises:
        FileNotFoundError: there is none.
        ModelError: the file is none.
    """
    path = checkpoint / "checkpoint.pt" if checkpoint.is_dir() else checkpoint
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of any kind, by what the file holds instead
        raise ModelError(f"{path} is not a checkpoint of a chirrup training: {error}") from error
    whole = isinstance(saved, dict) and {"config", "step", "hours"} <= set(saved)
    if not whole or not {"ema", "model"} & set(saved):
        raise ModelError(f"{path} is not a checkpoint of a chirrup training")
    if "version" not in saved:
        config = saved["config"]
        config["model_changes"] = earlier_fields(config["model"]) | config["model_changes"]
    return saved


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    with written(path) as draft:
        try:
            torch.save(content, draft)
        except RuntimeError as error:  # of PyTorch's writer, which does not tell why
            why = str(error).splitlines()[0]
            raise FileError(f"{path} cannot be written: is the disk full? ({why})") from error


def trained_model(saved: dict[str, Any]) -> Model:
    """The model of a checkpoint that `load_checkpoint` has read: its averaged (EMA) weights, or of
    a packed one its weights.

    Raises:
        ModelError: they do not fit the model of the checkpoint's configuration.
    """
    config = TrainingConfig.model_validate(saved["config"])
    model = build(config.model, **config.model_changes)
    try:
        load_weights(model, saved["ema" if "ema" in saved else "model"])
    except ValueError as error:
        raise ModelError(f"the weights do not fit the model {config.model}: {error}") from error
    return model


def restore_members(members: nn.Module, saved: dict[str, Any]) -> bool:
    """Load the parts that were saved; others, which the recipe has added since, are as they were.

    Returns:
        Whether all of them were saved, and no others.

    Raises:
        ModelError: a part is not what it was.
    """
    ours = members.state_dict()
    for name in ours.keys() & saved.keys():
        if ours[name].shape != saved[name].shape:
            part = name.partition(".")[0]
            raise ModelError(
                f"the checkpoint's discriminator {part} has other options than the recipe's: keep "
                "them, or give it another name"
            )
    known = {name: saved[name] for name in ours.keys() & saved.keys()}
    members.load_state_dict(known, strict=False)
    return ours.keys() == saved.keys()


def restore_optimiser(
    optimiser: Optimizer, saved: dict[str, Any], names: Iterable[str], groups: list[list[str]]
) -> None:
    """Give an optimiser, which numbers its parameters, the moments of the saved one.

    Parts of a model, and so its parameters, may have changed places since it was saved. Rates,
    betas and decay are the recipe's, not the saved ones.

    Args:
        saved: the saved state.
        names: of all that was saved with it, in the order of the parameters then.
        groups: names of the parameters as they are now.

    Raises:
        ModelError: it is of other parameters.
    """
    place = {name: index for index, name in enumerate(names)}
    number: dict[str, int] = {}
    for before, group in zip(saved["param_groups"], groups, strict=True):
        if len(group) != len(before["params"]):
            raise ModelError("the checkpoint's optimiser is of other parameters than the model's")
        number |= zip(sorted(group, key=place.__getitem__), before["params"])
    now = {name: index for index, name in enumerate(chain(*groups))}
    moments = saved["state"]  # none of what has not learned yet
    state = {now[name]: moments[then] for name, then in number.items() if then in moments}
    settings = [
        group | {"lr": before["lr"]}  # of the step, which the next one sets
        for group, before in zip(optimiser.state_dict()["param_groups"], saved["param_groups"])
    ]
    optimiser.load_state_dict({"state": state, "param_groups": settings})


def pack_checkpoint(checkpoint: Path, out: Path) -> None:
    """Write what a later training needs to go on, in a third of the size.

    Weights become float16 and optimiser states bfloat16; the averages are left out, since they are
    what was exported: they begin again at the weights.
    """

    def smaller(value: Any, kind: torch.dtype) -> Any:
        if isinstance(value, dict):
            return {key: smaller(item, kind) for key, item in value.items()}
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(kind) if floating and value.numel() > 1 else value

    saved = load_checkpoint(checkpoint)
    saved.pop("ema", None)
    for name in ("model", "adversary"):
        saved[name] = smaller(saved[name], torch.float16)
    for name in ("optimiser", "adversary_optimiser"):
        if saved[name]:
            saved[name] = saved[name] | {"state": smaller(saved[name]["state"], torch.bfloat16)}
    save_checkpoint(saved, out)
