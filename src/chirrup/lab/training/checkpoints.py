"""Checkpoints: writing, reading with checks, loading as a model, packing.

A checkpoint may come from a stranger. PyTorch loads it without running code (``weights_only``), and
its types and sizes are checked before use.
"""

import functools
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from chirrup.errors import FileError, ModelError
from chirrup.files.drafts import written
from chirrup.lab.models import Model, build, checkpoint_defaults
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.fields import explained
from chirrup.lab.weights import build_on_meta, check_numbers, load_weights
from chirrup.runtime.reading import regular_size

MOST_BYTES = 1 << 36
MOST_PICKLE_BYTES = 1 << 21
"""Limit for everything except tensor data. A tensor takes 0.1 KB; a large checkpoint has 200 KB."""
MOST_ITEMS = 1_000_000
MOST_STATE_ELEMENTS = 1 << 24
TENSORS = {"ema", "model", "usage", "adversary"}
OPTIMISERS = {"optimiser", "adversary_optimiser"}

VERSION = 2
"""Version of the content. Version 1 has no such entry."""


def _file_of(checkpoint: Path) -> Path:
    return checkpoint / "checkpoint.pt" if checkpoint.is_dir() else checkpoint


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        checkpoint: ``checkpoint.pt``, or the folder of a training.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: the file is not a checkpoint, or it is damaged.
    """
    path = _file_of(checkpoint)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    wrong = f"{path} is not a checkpoint of a chirrup training"
    try:
        _check_records(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch.save does not write
            saved = torch.load(path, map_location="cpu", weights_only=True)
        _check_items(saved)
        whole = isinstance(saved, dict) and {"config", "step", "hours"} <= set(saved)
        if not whole or not {"ema", "model"} & set(saved):
            raise ModelError("it lacks the configuration, the step, the hours or the weights")
        _check_values(saved)
        if "version" not in saved:
            config = saved["config"]
            changes = config.get("model_changes", {})
            config["model_changes"] = checkpoint_defaults(config.get("model")) | changes
    except OSError:
        raise
    except Exception as error:  # any kind, depending on the content
        raise ModelError(f"{wrong}: {error}") from error
    return saved


def _check_records(path: Path) -> None:
    """Refuse files that would unpack to more bytes than they have."""
    size = regular_size(path, MOST_BYTES)
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    if sum(record.file_size for record in records) > size:
        raise ValueError("its records are compressed")
    pickles = [record for record in records if record.filename.endswith("/data.pkl")]
    if any(record.file_size > MOST_PICKLE_BYTES for record in pickles):
        raise ValueError(f"its structure takes more than {MOST_PICKLE_BYTES} bytes")


def _check_items(saved: Any) -> None:
    """Refuse what is endless, and tensors that are larger than their storage."""
    waiting, items = [saved], 0
    while waiting:
        item = waiting.pop()
        items += 1
        if items > MOST_ITEMS:
            raise ValueError(f"it has more than {MOST_ITEMS} items")
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set):
            waiting += item
        elif isinstance(item, Tensor):
            plain = item.layout == torch.strided and item.device.type == "cpu"
            if not plain or item.is_quantized or item.nbytes > item.untyped_storage().nbytes():
                raise ValueError(f"a tensor of shape {list(item.shape)} has no plain content")


def _check_values(saved: dict[str, Any]) -> None:
    step, hours = saved["step"], saved["hours"]
    if type(step) is not int or step < 0:
        raise ValueError(f"step is {step!r}, must be a whole number")
    if type(hours) not in (int, float) or not 0 <= hours < math.inf:
        raise ValueError(f"hours is {hours!r}, must be a number")
    json.dumps(saved["config"])
    for name in saved.keys() & TENSORS:
        for key, value in saved[name].items():
            if not isinstance(value, Tensor):
                raise ValueError(f"{name} has no tensor {key}")
            if name in ("ema", "model") and not torch.isfinite(value).all():
                raise ValueError(f"{name} is not finite in {key}")
    for name in saved.keys() & OPTIMISERS:
        if saved[name]:  # None without discriminators
            groups, moments = saved[name]["param_groups"], saved[name]["state"]
            if not all(isinstance(group["params"], list) for group in groups):
                raise ValueError(f"{name} has no list of parameters")
            if not all(isinstance(value, dict) for value in moments.values()):
                raise ValueError(f"{name} has no moments")


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; after an error the previous file remains.

    Raises:
        FileError: it cannot be written.
    """
    with written(path) as draft:
        try:
            torch.save(content, draft)
        except RuntimeError as error:  # PyTorch's writer gives no reason
            why = str(error).splitlines()[0]
            raise FileError(f"{path} cannot be written: is the disk full? ({why})") from error


def trained_model(saved: dict[str, Any]) -> Model:
    """Build the model of a checkpoint with its averaged (EMA) weights.

    A packed checkpoint has no averages; its weights are taken instead.

    Args:
        saved: result of `load_checkpoint`.

    Raises:
        ModelError: the configuration is invalid, or the weights do not fit its model.
    """
    try:
        config = TrainingConfig.model_validate(saved["config"])
    except ValidationError as error:
        why = explained(error, TrainingConfig)
        raise ModelError(f"the checkpoint's configuration: {why}") from error
    weights = saved["ema" if "ema" in saved else "model"]
    try:
        check_numbers(config.model_changes)
        built = build_on_meta(lambda: build(config.model, **config.model_changes), weights)
        with torch.device("meta"):
            parts = built.encoder, built.decoder
            states = sum(x.numel() for part in parts for x in part.initial_state(1).values())
        if states > MOST_STATE_ELEMENTS:
            raise ValueError(f"its states have {states} elements")
    except ModelError:
        raise
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the weights do not fit the model {config.model}: {error}") from error
    model = build(config.model, **config.model_changes)
    load_weights(model, weights)
    return model


Restore = Callable[[Any, Path], None]


def refuses_other_checkpoints(restore: Restore) -> Restore:
    """Decorate a method that restores a checkpoint: missing or unfit values raise ModelError."""

    @functools.wraps(restore)
    def checked(self: Any, path: Path) -> None:
        try:
            restore(self, path)
        except ModelError:
            raise
        except KeyError as error:
            raise ModelError(f"{path} cannot be resumed: it has no {error}") from error
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be resumed: {error}") from error

    return checked


def restore_members(members: nn.Module, saved: dict[str, Any]) -> bool:
    """Load the modules that were saved. Modules that the recipe added later are left unchanged.

    Returns:
        Whether the saved modules are exactly the current ones.

    Raises:
        ModelError: a module has other shapes than before.
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
    """Load the moments of a saved optimiser.

    An optimiser numbers its parameters, and their order may have changed since it was saved.
    Learning rates, betas and weight decay stay as in the recipe.

    Args:
        saved: state of the saved optimiser.
        names: names of the saved parameters in their order.
        groups: names of the current parameters in each group.

    Raises:
        ModelError: the saved optimiser has other parameters.
    """
    place = {name: index for index, name in enumerate(names)}
    number: dict[str, int] = {}
    for before, group in zip(saved["param_groups"], groups, strict=True):
        if len(group) != len(before["params"]):
            raise ModelError("the checkpoint's optimiser has other parameters than the model")
        number |= zip(sorted(group, key=place.__getitem__), before["params"])
    now = {name: index for index, name in enumerate(chain(*groups))}
    moments = saved["state"]  # parameters that were never updated have none
    state = {now[name]: moments[then] for name, then in number.items() if then in moments}
    parameters = list(chain(*(group["params"] for group in optimiser.param_groups)))
    for index, values in state.items():
        for value in values.values():
            if torch.is_tensor(value) and value.dim() and value.shape != parameters[index].shape:
                raise ModelError("the checkpoint's optimiser has moments of other shapes")
    settings = [
        group | {"lr": before["lr"]}  # the next step sets its own
        for group, before in zip(optimiser.state_dict()["param_groups"], saved["param_groups"])
    ]
    optimiser.load_state_dict({"state": state, "param_groups": settings})


def pack_checkpoint(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint of a third of the size, from which a later training can continue.

    Weights become float16 and optimiser states bfloat16. The averaged weights are left out, since
    the exported model has them; averaging starts again from the weights.

    Raises:
        ModelError: the checkpoint has no discriminators or optimisers.
        FileError: ``out`` is the checkpoint itself, or cannot be written.
    """

    def smaller(value: Any, kind: torch.dtype) -> Any:
        if isinstance(value, dict):
            return {key: smaller(item, kind) for key, item in value.items()}
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(kind) if floating and value.numel() > 1 else value

    saved = load_checkpoint(checkpoint)
    if missing := ({"model", "adversary"} | OPTIMISERS) - set(saved):
        raise ModelError(f"{checkpoint} has no {min(missing)}: a training cannot go on from it")
    if out.exists() and out.samefile(_file_of(checkpoint)):
        raise FileError(f"{out} is the checkpoint itself: give another file for the small one")
    saved.pop("ema", None)
    for name in ("model", "adversary"):
        saved[name] = smaller(saved[name], torch.float16)
    for name in ("optimiser", "adversary_optimiser"):
        if saved[name]:
            saved[name] = saved[name] | {"state": smaller(saved[name]["state"], torch.bfloat16)}
    save_checkpoint(saved, out)
