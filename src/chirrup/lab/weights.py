"""Checked loading of weights from files that others wrote.

Either all tensors fit a module, or an error of one line names those that do not.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

MAX_NUMBER, MAX_ITEMS = 1_000_000, 100
"""Largest number, and longest list, that a configuration from a file may have."""

M = TypeVar("M", bound=nn.Module)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return load_file(path)
    except OSError:
        raise
    except Exception as error:  # safetensors has classes directly below Exception
        raise ValueError(f"{path} is damaged: {error}") from error


def check_numbers(values: Any) -> None:
    """Check the numbers and lists of a configuration before layers are built from them.

    Raises:
        ValueError: a number exceeds `MAX_NUMBER`, or a list has more than `MAX_ITEMS` items.
    """
    if isinstance(values, dict | list | tuple):
        if len(values) > MAX_ITEMS:
            raise ValueError(f"the configuration has a list of {len(values)} items")
        for item in values.values() if isinstance(values, dict) else values:
            check_numbers(item)
    elif isinstance(values, int | float) and not abs(values) <= MAX_NUMBER:
        raise ValueError(f"the configuration has a number beyond {MAX_NUMBER}: {values!r:.40}")


def build_on_meta(build: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """Build a module on the device "meta", without values, and compare it with its weights.

    If the weights do not fit, this takes neither time nor memory.

    Raises:
        ValueError: the module cannot be built, has far more layers than the weights, or does not
            fit; see `check_fit`.
    """
    try:
        with torch.device("meta"), _fewer_modules(8 * len(weights) + 100):
            built = build()
    except ValueError:
        raise
    except Exception as error:  # its kind depends on the layer that fails
        raise ValueError(str(error)) from error
    check_fit(built, weights)
    return built


@contextmanager
def _fewer_modules(most: int) -> Iterator[None]:
    """Raise ValueError as soon as a module has more than ``most`` layers."""
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
    """Check that ``weights`` has exactly the tensors of ``module``, with equal shapes.

    The module may be on the device "meta".

    Raises:
        ValueError: tensors are missing, unknown, or have other shapes. The message contains their
            number and the name of one.
    """
    own = module.state_dict()
    shared = [name for name in own if name in weights]
    faults = {
        "missing": [name for name in own if name not in weights],
        "not known": [name for name in weights if name not in own],
        "of other shapes": [name for name in shared if own[name].shape != weights[name].shape],
    }
    listed = [f"{len(names)} {fault} ({names[0]})" for fault, names in faults.items() if names]
    if listed:
        raise ValueError(f"tensors: {', '.join(listed)}")


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Load all tensors of ``module``.

    Args:
        assign: whether to assign the tensors instead of copying their values.

    Raises:
        ValueError: the weights do not fit; see `check_fit`.
    """
    check_fit(module, weights)
    module.load_state_dict(weights, assign=assign)
