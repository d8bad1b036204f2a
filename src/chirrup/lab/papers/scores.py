"""Scores that a paper reports of one system under one condition."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """Scores at several bitrates, by the names of `chirrup evaluate`'s metrics.

    Attributes:
        kbps: nominal bitrates, of one channel if channels are coded one by one.
        on: clips and condition.
        metrics: a score for each bitrate.
    """

    system: str
    kbps: tuple[float, ...]
    on: str
    source: str
    metrics: Mapping[str, tuple[float, ...]]


def read_scores(table: dict[str, Any]) -> Scores:
    """Return the scores of a table whose other keys are metrics.

    Raises:
        ValueError: a metric has another number of scores than there are bitrates.
        KeyError: ``system``, ``kbps``, ``on`` or ``source`` is missing.
    """
    rest = dict(table)
    system, on, source = (rest.pop(key) for key in ("system", "on", "source"))
    kbps = tuple(rest.pop("kbps"))
    metrics = {name: tuple(values) for name, values in rest.items()}
    if not metrics or any(len(values) != len(kbps) for values in metrics.values()):
        raise ValueError(f"scores of {system} must be one for each of {len(kbps)} bitrates: {rest}")
    return Scores(system, kbps, on, source, metrics)
