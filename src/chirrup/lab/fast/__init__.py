"""Faster forms of layers and losses, for training on a CPU.

The plain layers in `lab/nn`, `lab/models` and `lab/training` define what is computed. A fast form
computes the same in fewer passes over memory, and is tested against the plain one. Fast forms take
and return tensors and know no module; a layer that has one chooses it if its attribute ``fast`` is
set (`enable`).
"""

from typing import Any

import torch
from torch import Tensor, nn

from chirrup.lab.fast.extension import available
from chirrup.lab.fast.processor import products_in_bf16

__all__ = ["available", "enable", "products_in_bf16", "runs_on", "takes"]


def enable(owner: Any) -> None:
    """Let an object, or all parts of a module, use fast forms, if the extension compiles here."""
    if available():
        parts: list[Any] = list(owner.modules()) if isinstance(owner, nn.Module) else [owner]
        for part in parts:
            if hasattr(part, "fast"):
                part.fast = True


def takes(x: Tensor) -> bool:
    """Whether the fast forms take this tensor: float32 on the CPU."""
    return x.device.type == "cpu" and x.dtype is torch.float32


def runs_on(x: Tensor) -> bool:
    """Whether the fast forms of layers run on this tensor.

    Under autocast the plain layers run, since fast forms choose the types of their products.
    """
    return takes(x) and not torch.is_autocast_enabled("cpu")
