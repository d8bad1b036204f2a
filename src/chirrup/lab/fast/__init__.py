"""Fast forms of layers and losses, for training on a CPU.

The plain layers in `lab/nn`, `lab/models` and `lab/training` define the results. A fast form
computes equal results in fewer passes over memory, and is tested against the plain form. Fast forms
are functions of tensors. A layer uses its fast form if its attribute ``fast`` is set; see `enable`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from chirrup.lab.fast.extension import available
from chirrup.lab.fast.processor import products_in_bf16

__all__ = ["available", "enable", "products_in_bf16", "runs_on", "takes"]


def enable(owner: Any) -> None:
    """Set ``fast`` of an object, or of all parts of a module, if the extension can be compiled."""
    if available():
        parts: list[Any] = list(owner.modules()) if isinstance(owner, nn.Module) else [owner]
        for part in parts:
            if hasattr(part, "fast"):
                part.fast = True


def takes(x: Tensor) -> bool:
    """Return whether fast forms accept this tensor, which must be float32 on the CPU."""
    return x.device.type == "cpu" and x.dtype is torch.float32


def runs_on(x: Tensor) -> bool:
    """Return whether the fast forms of layers run on this tensor.

    Under autocast the plain layers run, because fast forms choose the types of their products.
    """
    return takes(x) and not torch.is_autocast_enabled("cpu")
