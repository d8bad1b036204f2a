"""Average the weights of two checkpoints of a training, such as before and after its last stage.

    python benchmarks/mean_weights.py BEFORE AFTER --out FOLDER [--share 0.5]

The mean of both EMAs, with a share of AFTER, becomes the weights and the EMA of AFTER's checkpoint.
`chirrup export FOLDER` exports it, and `chirrup train` continues it. Averages of weights that were
trained from each other can be better than both (arXiv 2109.01903).
"""

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from chirrup.errors import UsageError
from chirrup.lab.training.checkpoints import load_checkpoint, save_checkpoint
from shared import check_new, run


def mean(before: dict[str, Any], after: dict[str, Any], share: float) -> dict[str, Tensor]:
    """Return the mean of the EMAs of two checkpoints; whole numbers come from ``after``.

    Raises:
        UsageError: the checkpoints have other parameters or shapes.
    """
    first, second = (saved.get("ema", saved["model"]) for saved in (before, after))
    shapes = ({name: value.shape for name, value in one.items()} for one in (first, second))
    if next(shapes) != next(shapes):
        raise UsageError("the checkpoints are of different models")
    return {
        name: first[name].to(value).lerp(value, share) if value.is_floating_point() else value
        for name, value in second.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Average the weights of two checkpoints.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="share of AFTER, 0 to 1")
    options = parser.parse_args()
    check_new(options.out)
    after = load_checkpoint(options.after)
    weights = mean(load_checkpoint(options.before), after, options.share)
    options.out.mkdir(parents=True, exist_ok=True)
    save_checkpoint(after | {"model": weights, "ema": weights}, options.out / "checkpoint.pt")


if __name__ == "__main__":
    run(main)
