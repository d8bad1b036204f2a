"""Recipes of corpora: defaults, and errors."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from chirrup.data.recipe import Filter, Recipe, load_corpus_recipe, recipe_of
from chirrup.errors import FileError

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_recipe_file_spells_out_the_defaults() -> None:
    assert load_corpus_recipe(RECIPES / "corpora" / "curated.toml") == Recipe()


def test_the_recipe_that_keeps_everything() -> None:
    recipe = load_corpus_recipe(RECIPES / "corpora" / "as-is.toml")
    assert all(limits == Filter() for limits in recipe.filters.values())
    assert {output.format for output in recipe.output.values()} == {"keep"}
    assert (recipe.splits.test, recipe.splits.validation) == (0, 0)


def test_a_recipe_goes_to_json_and_back() -> None:
    recipe = recipe_of({"rooms": {"rooms": 2}, "sources": [{"path": "/x", "licence": "CC0"}]})
    assert recipe_of(json.loads(json.dumps(recipe.plain()))) == recipe


def test_what_a_table_does_not_name_keeps_its_default() -> None:
    recipe = recipe_of(
        {"filters": {"read": {"keep_share": 0.7}}, "output": {"rir": {"mono": False}}}
    )
    assert recipe.filters["read"] == Filter(
        Recipe().filters["read"].min, Recipe().filters["read"].max, 0.7
    )
    assert recipe.filters["noise"] == Recipe().filters["noise"]
    assert recipe.output["rir"].rate_hz == 48_000


def test_limits_that_are_named_take_the_place_of_all() -> None:
    recipe = recipe_of({"filters": {"read": {"min": {"seconds": 2}}}})
    assert recipe.filters["read"].min == {"seconds": 2.0}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"sead": 1}, "recipe has no 'sead'"),
        ({"seed": "1"}, "seed must be of the type int"),
        ({"duplicates": 1}, "duplicates must be of the type bool"),
        ({"filters": {"red": {}}}, "no 'red': use read, studio, noise"),
        ({"filters": {"read": {"min": {"snr": 3}}}}, "filters.read has no 'snr'"),
        ({"filters": {"read": {"keep_share": 4}}}, "keep_share is 4: give a number from 0 to 1"),
        ({"filters": {"music": {"keep_share": 0.5}}}, "keep_share is for speech only"),
        ({"filters": 3}, "filters must be a table"),
        ({"output": {"speech": {"format": "mp3"}}}, "no 'mp3': use flac, opus, keep"),
        ({"output": {"music": {"rate_hz": 44100, "format": "opus"}}}, "Opus has 8000, 12000"),
        ({"splits": {"test": 0.9}}, "test is 0.9: give a number from 0 to 0.5"),
        ({"manifest": "xml"}, "manifest has no 'xml': use csv, parquet"),
        ({"sources": [{"licence": "x"}]}, "sources needs path"),
        ({"sources": [{"path": "x", "style": "loud"}]}, "no 'loud'"),
        ({"sources": {}}, "sources must be a list"),
        ({"shard_minutes": -1}, "shard_minutes is -1: give a number from 0.001 to 1000000, or 0"),
        ({"piece_seconds": math.nan}, "piece_seconds is nan: give a number from 0.1"),
        ({"piece_seconds": 1e-5}, "piece_seconds is 1e-05"),
        ({"piece_seconds": 10**400}, "piece_seconds is 1000"),
        ({"output": {"speech": {"rate_hz": -5}}}, "rate_hz is -5: give a number from 1000"),
        ({"output": {"speech": {"rate_hz": 2_000_000_000}}}, "rate_hz is 2000000000"),
        ({"filters": {"read": {"max": {"rt60_s": math.inf}}}}, "max.rt60_s is inf"),
        ({"balance": {"speaker_hours": -1}}, "speaker_hours is -1"),
        ({"rooms": {"rooms": -1}}, "rooms is -1"),
        ({"rooms": {"rate_hz": 0}}, "rate_hz is 0"),
        ({"rooms": {"rt60_s": [0.1]}}, "rt60_s must have 2 numbers"),
        ({"peace_seconds": 3}, "recipe has no 'peace_seconds': use piece_seconds$"),
    ],
)
def test_mistakes_are_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(FileError, match=words):
        recipe_of(table)


@pytest.mark.parametrize("text", ["seed = = 1", "seed = " + "[" * 9999])
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(FileError, match=r"recipe .*x\.toml"):
        load_corpus_recipe(tmp_path / "x.toml")
