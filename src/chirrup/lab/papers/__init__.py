"""Figures that the papers of our models print, read from ``papers.toml``.

This package imports no torch, because `chirrup audit` runs without it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Paper:
    """The figures that a paper prints of one model. ``papers.toml`` describes each of them.

    A figure that the paper does not have is None, or missing from its mapping.
    """

    source: str
    bitrates_bps: tuple[int, ...]
    mflops: Mapping[str, float] = field(default_factory=dict)
    parameters_m: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float | None = None
    note: str | None = None


def read_papers(text: str) -> dict[str, Paper]:
    """Return the papers of the text of a file such as ``papers.toml``, by model.

    Raises:
        ValueError: the text is not TOML.
        KeyError: ``like`` names a model that has no table.
        TypeError: a key is unknown, or ``source`` or ``bitrates_bps`` is missing.
    """
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    papers = {}
    for model, table in tables.items():
        figures = {**tables[table.pop("like")], **table} if "like" in table else table
        figures["bitrates_bps"] = tuple(figures["bitrates_bps"])
        papers[model] = Paper(**figures)
    return papers


PAPERS = read_papers(Path(__file__).with_name("papers.toml").read_text(encoding="utf-8"))
