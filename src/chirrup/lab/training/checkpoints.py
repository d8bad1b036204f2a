"""What a training leaves: its checkpoint, read again, as a model, or packed for the next one."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from chirrup.lab.models import Model, build
from chirrup.lab.training.config import TrainingConfig
from chirrup.runtime.errors import ModelError


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
    return saved


def trained_model(saved: dict[str, Any]) -> Model:
    """The model of a checkpoint that `load_checkpoint` has read: its averaged (EMA) weights, or of
    a packed one its weights.

    Raises:
        ModelError: they do not fit the model of the checkpoint's configuration.
    """
    config = TrainingConfig.model_validate(saved["config"])
    model = build(config.model, **config.model_changes)
    try:
        model.load_state_dict(saved["ema" if "ema" in saved else "model"])
    except RuntimeError as error:
        raise ModelError(f"the weights do not fit the model {config.model}: {error}") from error
    return model


def renumbered(
    optimiser: dict[str, Any], names: Iterable[str], groups: list[list[str]]
) -> dict[str, Any]:
    """The state of an optimiser, which numbers its parameters, as ``groups`` number theirs.

    Parts of a model, and so its parameters, may have changed places since it was saved.

    Args:
        optimiser: the saved state.
        names: of all that was saved with it, in the order of the parameters then.
        groups: names of the parameters as they are now.

    Raises:
        ModelError: it is of other parameters.
    """
    place = {name: index for index, name in enumerate(names)}
    number: dict[str, int] = {}
    for saved, group in zip(optimiser["param_groups"], groups, strict=True):
        if len(group) != len(saved["params"]):
            raise ModelError("the checkpoint's optimiser is of other parameters than the model's")
        number |= zip(sorted(group, key=place.__getitem__), saved["params"])
    now = {name: index for index, name in enumerate(chain(*groups))}
    moments = optimiser["state"]  # none of what has not learned yet
    state = {now[name]: moments[then] for name, then in number.items() if then in moments}
    settings = [
        saved | {"params": [now[name] for name in group]}
        for saved, group in zip(optimiser["param_groups"], groups)
    ]
    return {"state": state, "param_groups": settings}


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
    part = out.with_suffix(".part")
    torch.save(saved, part)
    part.replace(out)
