"""Weights from elsewhere into a module: all of them, or a line that says what does not fit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

MAX_NUMBER, MAX_ITEMS = 1_000_000, 100
"""Number, and list, in a configuration from elsewhere."""

M = TypeVar("M", bound=nn.Module)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return load_file(path)
    except OSError:
        raise
    except Exception as error:  # safetensors has several kinds, one directly below Exception
        raise ValueError(f"{path} is damaged: {error}") from error


def check_numbers(values: Any) -> None:
    """Refuse numbers and lists that no configuration has, before they become layers.

    Raises:
        ValueError: one is beyond `MAX_NUMBER` or `MAX_ITEMS`.
    """
    if isinstance(values, dict | list | tuple):
        if len(values) > MAX_ITEMS:
            raise ValueError(f"the configuration has a list of {len(values)} items")
        for item in values.values() if isinstance(values, dict) else values:
            check_numbers(item)
    elif isinstance(values, int | float) and not abs(values) <= MAX_NUMBER:
        raise ValueError(f"the configuration has a number beyond {MAX_NUMBER}: {values!r:.40}")


def build_on_meta(build: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """Build a module without values, on the device "meta", and compare it with the weights that it
    is to get: a module that they do not fit costs neither time nor memory.

    Raises:
        ValueError: it cannot be built, has more layers than the weights can fill, or as `check_fit`
            has it.
    """
    try:
        with torch.device("meta"), _fewer_modules(8 * len(weights) + 100):
            built = build()
    except ValueError:
        raise
    except Exception as error:  # of any kind, by the layer that a number reaches first
        raise ValueError(str(error)) from error
    check_fit(built, weights)
    return built


@contextmanager
def _fewer_modules(most: int) -> Iterator[None]:
    """Let a module with more than so many layers fail soon."""
    left = most

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"it has more than {most} layers")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def check_fit(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Compare the names and shapes of tensors with those of ``module``, which may be on the device
    "meta".

    Raises:
        ValueError: some are missing, not known, or of other shapes: how many, and one of each.
    """
    own = module.state_dict()
    shared = [name for name in own if name in weights]
    faults = {
        "missing": [name for name in own if name not in weights],
        "not known": [name for name in weights if name not in own],
        "of other shapes": [name for name in shared if own[name].shape != weights[name].shape],
    }
    said = [f"{len(names)} {fault} ({names[0]})" for fault, names in faults.items() if names]
    if said:
        raise ValueError(f"of its tensors {', '.join(said)}")


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Give ``module`` the values of all its tensors, or ``assign`` the tensors themselves; raise as
    `check_fit` does."""
    check_fit(module, weights)
    module.load_state_dict(weights, assign=assign)
