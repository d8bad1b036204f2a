"""Selection of checkpoints by scores of the validation."""

import math
from collections.abc import Mapping, Sequence

HIGHER_IS_BETTER = ("pesq_", "snr_db_")
"""Beginnings of the names of scores that are to rise; the others are to fall."""


class Selection:
    """The best value of each score that a recipe selects checkpoints by.

    Attributes:
        best: best value so far, by the name of the score.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.best: dict[str, float] = {}

    def improved(self, figures: Mapping[str, float]) -> list[str]:
        """Return the scores that are better than ever before, and remember their values."""
        better = [name for name in self.names if name in figures and self._is_best(name, figures)]
        self.best |= {name: figures[name] for name in better}
        return better

    def _is_best(self, name: str, figures: Mapping[str, float]) -> bool:
        sign = -1 if name.startswith(HIGHER_IS_BETTER) else 1
        return sign * figures[name] < sign * self.best.get(name, sign * math.inf)

    def restore(self, best: Mapping[str, float]) -> None:
        """Continue from the values of an earlier run. Scores that it did not select by start new.

        Raises:
            TypeError: a value is not a number.
        """
        known = {name: float(best[name]) for name in self.names if name in best}
        self.best = {name: value for name, value in known.items() if math.isfinite(value)}
