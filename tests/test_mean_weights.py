"""The benchmarks' mean of the weights of two checkpoints."""

from importlib import import_module

import pytest
import torch

from benchmark_scripts import scripts  # noqa: F401
from chirrup.errors import UsageError


def saved(value: float, size: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    weights = {"weight": torch.full((size,), value), "count": torch.tensor(int(value))}
    return {"model": {"weight": torch.zeros(size), "count": torch.tensor(0)}, "ema": weights}


def test_the_mean_has_a_share_of_the_second() -> None:
    made = import_module("mean_weights").mean(saved(1.0), saved(5.0), 0.25)
    torch.testing.assert_close(made["weight"], torch.full((3,), 2.0))
    assert made["count"] == 5


def test_a_packed_checkpoint_has_half_precision() -> None:
    first = saved(1.0)
    first["ema"]["weight"] = first["ema"]["weight"].half()
    for before, after in ((first, saved(5.0)), (saved(1.0), first)):
        made = import_module("mean_weights").mean(before, after, 0.5)
        assert made["weight"].dtype == after["ema"]["weight"].dtype


def test_checkpoints_of_different_models_are_refused() -> None:
    with pytest.raises(UsageError, match="different models"):
        import_module("mean_weights").mean(saved(1.0), saved(5.0, size=4), 0.5)
