"""The recipes of the papers' models have the figures that the papers' tables declare."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chirrup.lab.papers import PAPERS, read_papers
from chirrup.lab.papers.figures import OF_THE_RUN, differences, figures_of
from chirrup.lab.training.config import load_recipe

RECIPES = Path(__file__).parents[3] / "recipes"
TRAINED = [model for model, paper in PAPERS.items() if paper.training]
NAMED = [model for model in TRAINED if (RECIPES / f"{model}.toml").is_file()]
"""Models with a recipe of their name; recipes of other models train the rest."""
TABLE = 'source = "a paper"\nbitrates_bps = [1000]\n'


@cache
def recipe(model: str) -> dict[str, Any]:
    """Return the recipe of a model with all its defaults."""
    return load_recipe(RECIPES / f"{model}.toml").model_dump(mode="json")


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 1.01 + 0.001
    if isinstance(value, str):
        return value + "-2"
    if isinstance(value, list) and value:
        return [changed(value[0]), *value[1:]]
    return 7


def mutations(table: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Return the path, the table and the key of each value of nested tables and lists of them."""
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        inner = f"{path}.{key}".strip(".")
        if isinstance(value, dict) or (
            isinstance(value, list) and value and isinstance(value[0], dict)
        ):
            yield from mutations(value, inner)
        elif inner not in OF_THE_RUN:
            yield inner, table, key


def test_every_recipe_for_gpus_has_a_table() -> None:
    """Recipes for CPUs have names with "cpu"; their sizes and steps are no paper's."""
    assert set(NAMED) == {path.stem for path in RECIPES.glob("*.toml") if "cpu" not in path.stem}
    assert all(recipe(model)["model"] == model for model in NAMED)


@pytest.mark.parametrize("model", NAMED)
def test_a_recipe_has_the_figures_of_its_paper(model: str) -> None:
    assert differences(recipe(model), PAPERS[model].training) == []


@pytest.mark.parametrize("model", NAMED)
def test_any_changed_figure_of_a_recipe_is_found(model: str) -> None:
    """Each figure is changed on its own, also those that are off, and the order of the stages."""
    training, table = PAPERS[model].training, deepcopy(recipe(model))
    found = 0
    for path, place, key in mutations(table):
        before = place[key]
        place[key] = changed(before)
        assert len(differences(table, training)) >= 1, path
        place[key] = before
        found += 1
    assert found > 60
    assert differences(table, training) == []
    table["stages"].append(table["stages"].pop(0) | {"name": "extra"})
    assert differences(table, training) != []


def test_a_figure_that_is_declared_and_missing_is_found() -> None:
    training = PAPERS["iris-t1"].training
    table = deepcopy(recipe("iris-t1"))
    del table["adversary"]["discriminators"]["mels"]
    assert differences(table, training) == [
        "adversary.discriminators.mels.kind is None, and its declared value is mel"
    ]


@pytest.mark.parametrize("model", TRAINED)
def test_every_figure_has_a_source_or_a_reason(model: str) -> None:
    for group in PAPERS[model].training:
        assert group.source or not (group.paper or group.states)
        assert group.reason or not group.recipe
        for text in filter(None, (group.source, group.states, group.reason)):
            assert text == " ".join(text.split())


def test_later_groups_replace_figures_of_earlier_ones() -> None:
    papers = read_papers(
        f'[a]\n{TABLE}[[a.training]]\nsource = "table 1"\npaper = {{ seed = 1, betas = [1, 2] }}\n'
        '[b]\nlike = "a"\n[[b.training]]\nreason = "ours"\nrecipe.betas = [3, 4]\n',
        '[[common.training]]\nreason = "ours"\nrecipe = { betas = [0, 0], bf16 = true }\n',
    )
    of_a, of_b = (papers[model].training for model in "ab")
    assert [group.expected for group in of_a] == [{"bf16": True}, {"betas": [1, 2]}]
    assert [group.expected for group in of_b] == [{"bf16": True}, {"betas": [3, 4]}]


def test_a_figure_that_is_off_equals_a_missing_one() -> None:
    stage = {"name": "all", "quantize": True, "train": [], "weights": {"mel": 0.0, "pesq": 2}}
    table = {"stages": [stage], "bf16": False, "teacher": None}
    assert figures_of(table) == {
        "stages.order": ["all"],
        "stages.all.train": [],
        "stages.all.weights.mel": 0,
        "stages.all.weights.pesq": 2,
        "bf16": False,
        "teacher": None,
    }
    declared = """[[a.training]]
source = "table 1"
paper = { warmup_steps = 0, stages = { order = ["all"], all = { weights = { pesq = 2 } } } }
"""
    training = read_papers(f"[a]\n{TABLE}{declared}")["a"].training
    assert differences(table, training) == ["bf16 is False, and its declared value is None"]


@pytest.mark.parametrize(
    ("group", "error"),
    [
        ("paper.betas = [1, 2]", ValueError),
        ('states = "many steps"', ValueError),
        ("recipe.betas = [1, 2]", ValueError),
        ('source = "table 1"\nbetas = [1, 2]', TypeError),
    ],
)
def test_a_wrong_group_is_an_error(group: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_papers(f"[a]\n{TABLE}[[a.training]]\n{group}")
