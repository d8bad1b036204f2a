"""Figures that the papers of our models print, read from the TOML files of this folder.

A file has the models of one system; ``README.md`` of this folder describes its keys. This package
imports no torch, because `chirrup audit` runs without it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chirrup.lab.papers.figures import Figures, read_figures
from chirrup.lab.papers.scores import Scores, read_scores

__all__ = ["PAPERS", "Figures", "Paper", "Scores", "read_papers"]

COMMON = "common"
"""Table of the figures of every recipe that no paper states."""


@dataclass(frozen=True)
class Paper:
    """The figures that a paper prints of one model, with their units.

    A figure that the paper does not have is None, or missing from its mapping.
    """

    source: str
    bitrates_bps: tuple[int, ...]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    mflops: Mapping[str, float] = field(default_factory=dict)
    parameters_m: Mapping[str, float] = field(default_factory=dict)
    limits_mflops: Mapping[str, float] = field(default_factory=dict)
    receptive_field_samples: Mapping[str, int] = field(default_factory=dict)
    latency_ms: float | None = None
    latency_limit_ms: float | None = None
    note: str | None = None
    training: tuple[Figures, ...] = ()
    scores: tuple[Scores, ...] = ()


def read_papers(*texts: str) -> dict[str, Paper]:
    """Return the papers of the texts of this folder's TOML files, by model.

    Raises:
        ValueError: a text is not TOML, or training figures or scores are not complete.
        KeyError: ``like`` names a model that has no table.
        TypeError: a key is unknown, or ``source`` or ``bitrates_bps`` is missing.
    """
    tables: dict[str, dict[str, Any]] = {}
    for text in texts:
        tables |= tomllib.loads(text)
    common = tables.pop(COMMON, {}).get("training", [])
    papers = {}
    for model, own in tables.items():
        other = tables[own["like"]] if "like" in own else {}
        table = other | own
        table.pop("like", None)
        groups = [*other.get("training", []), *own.get("training", [])]
        table["training"] = read_figures([*common, *groups]) if groups else ()
        table["scores"] = tuple(map(read_scores, own.get("scores", [])))
        table["bitrates_bps"] = tuple(table["bitrates_bps"])
        papers[model] = Paper(**table)
    return papers


PAPERS = read_papers(
    *(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.toml")))
)
