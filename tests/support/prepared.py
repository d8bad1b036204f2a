"""Preparation of a small corpus."""

from pathlib import Path
from typing import Any

from chirrup.data.manifest import Entry, read_manifest
from chirrup.data.recipe import Recipe, recipe_of

FACTS = {"licence": "CC0-1.0", "language": "en"}
TABLE: dict[str, Any] = {
    "shard_minutes": 0.2,
    "filters": {"read": {"keep_share": 1.0, "max": {}, "min": {"snr_db": 20.0, "seconds": 1.0}}},
    "splits": {"test": 0.2, "validation": 0.2},
    "output": {
        "speech": {"rate_hz": 8000},
        "noise": {"rate_hz": 8000},
        "rir": {"rate_hz": 8000},
    },
}


def recipe(**table: Any) -> Recipe:
    return recipe_of({**TABLE, **table})


def entries(folder: Path) -> list[Entry]:
    return list(read_manifest(folder / "manifest.csv"))


def assert_same(folder: Path, corpus: Path) -> None:
    """To the byte."""
    for name in ("manifest.csv", *sorted({entry.shard for entry in entries(corpus)})):
        assert (folder / name).read_bytes() == (corpus / name).read_bytes(), name
