"""The training figures of a paper, and their comparison with a recipe.

A figure is a value of a recipe: a loss weight, a learning rate, a probability, a number of steps.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OF_THE_RUN = {
    *("model", "seed", "checkpoint_minutes", "validate_every", "teacher.path"),
    *("data.manifest", "data.speech", "data.noise", "data.rooms", "data.cache", "data.leave_out"),
    *("data.licences", "data.memory_gb", "data.validation", "data.validation_noise"),
    "data.validation_score",
}
"""Keys of a recipe that select where and how it runs. Papers have no figures of them."""
PLAIN_STAGE = {"quantize": True, "refine": True, "decodes": "codes"}
"""Values of a stage without special forms; a figure is any other value."""


@dataclass(frozen=True)
class Figures:
    """Figures of a training that have one source and, if they differ here, one reason.

    Attributes:
        source: section or table of the paper; None if the paper is silent.
        states: the paper's statement, if a recipe has no key for it.
        paper: figures that the paper states, by the keys of a recipe.
        recipe: figures of our recipe that differ from ``paper``, or that the paper leaves open.
        reason: why ``recipe`` has its values.
    """

    source: str | None
    states: str | None
    paper: Mapping[str, Any]
    recipe: Mapping[str, Any]
    reason: str | None

    @property
    def expected(self) -> dict[str, Any]:
        """Figures that our recipe must have."""
        return {**self.paper, **self.recipe}


def read_figures(tables: Sequence[dict[str, Any]]) -> tuple[Figures, ...]:
    """Return the groups of training figures of a TOML file.

    A figure of a later group replaces the same key in earlier groups.

    Raises:
        ValueError: a group has no source and no reason, or figures without either.
        TypeError: a group has an unknown key.
    """
    groups = [_group(**table) for table in tables]
    kept: list[Figures] = []
    for index, group in enumerate(groups):
        later = {key for after in groups[index + 1 :] for key in after.expected}
        paper = {key: value for key, value in group.paper.items() if key not in later}
        recipe = {key: value for key, value in group.recipe.items() if key not in later}
        if paper or recipe:
            kept.append(Figures(group.source, group.states, paper, recipe, group.reason))
    return tuple(kept)


def _group(
    source: str | None = None,
    states: str | None = None,
    paper: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    reason: str | None = None,
) -> Figures:
    if (paper or states) and not source:
        raise ValueError(f"figures of a paper have no source: {states or paper}")
    if recipe and not reason:
        raise ValueError(f"figures of a recipe have no reason: {recipe}")
    return Figures(source, states, figures_of(paper or {}), figures_of(recipe or {}), reason)


def figures_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a recipe by their keys, such as ``stages.all.weights.mel``.

    Args:
        recipe: nested tables. Tables in a list are named by their key ``name``; ``order`` is the
            list of these names.
    """
    return {key: value for key, value in _leaves(recipe, "") if key not in OF_THE_RUN}


def differences(recipe: Mapping[str, Any], groups: Iterable[Figures]) -> list[str]:
    """Compare the figures of a recipe with those that its paper's table declares.

    A figure that is off (0, None or empty) equals one that is missing.

    Args:
        recipe: the recipe with all its defaults, as nested tables.

    Returns:
        A line for each figure that differs, in the order of the keys.
    """
    found, expected = figures_of(recipe), {}
    for group in groups:
        expected |= group.expected
    return [
        f"{key} is {found.get(key)}, and its declared value is {expected.get(key)}"
        for key in sorted({*found, *expected})
        if _if_on(found.get(key)) != _if_on(expected.get(key))
    ]


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{prefix}{key}.order", [item["name"] for item in value]
            for item in value:
                named = {
                    name: each
                    for name, each in item.items()
                    if name != "name" and PLAIN_STAGE.get(name) != each
                }
                yield from _leaves(named, f"{prefix}{key}.{item['name']}.")
        else:
            yield f"{prefix}{key}", value


def _if_on(value: Any) -> Any:
    return value if value or value is False else None
