"""Weights from elsewhere into a module: all of them, or a line that says what does not fit."""

from collections.abc import Mapping

from torch import Tensor, nn


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
