"""Types of the fields of a recipe, with their ranges, and one-line error messages."""

import math
from difflib import get_close_matches
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError


def _within(low: float, high: float) -> AfterValidator:
    """Check a range; NaN is outside of it."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"give a number from {low:.15g} to {high:.15g}")
        return value

    return AfterValidator(check)


def _rising(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError("give the lower end first")
    return values


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("give a text that is not empty")
    return text


Share = Annotated[float, _within(0, 1)]
Decay = Annotated[float, _within(0, 1 - 1e-9)]
Rate = Annotated[float, _within(1e-12, 10)]
"""A learning rate."""
Weight = Annotated[float, _within(0, 1e9)]
Positive = Annotated[float, _within(1e-9, 1e9)]
Seconds = Annotated[float, _within(1e-4, 3600)]
Speed = Annotated[float, _within(1, 4)]
Count = Annotated[int, _within(0, 10**9)]
AtLeastOne = Annotated[int, _within(1, 10**9)]
Codebooks = Annotated[int, _within(1, 1024)]
Batch = Annotated[int, _within(1, 65_536)]
Bands = Annotated[int, _within(1, 65_536)]
Pattern = Annotated[str, AfterValidator(_not_empty)]
Window = Annotated[int, _within(4, 65_536)]
"""A window in samples; its hop is a quarter of it."""
Seed = Annotated[int, _within(0, 2**63 - 1)]
Decibels = Annotated[
    tuple[Annotated[float, _within(-200, 200)], Annotated[float, _within(-200, 200)]],
    AfterValidator(_rising),
]


class Strict(BaseModel):
    """Base of all tables of a recipe: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def explained(error: ValidationError, model: type[Strict]) -> str:
    """Describe the first mistake: the key, its value, and the values it may have."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        *parents, name = map(str, first["loc"])
        known = _fields(model, parents)
        near = get_close_matches(name, known, 3, 0.5) or known
        return f"there is no {key}: use {', '.join('.'.join([*parents, x]) for x in near)}"
    why = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{key} is missing"
    return f"{key} is {_shortened(first['input'])}: {why[0].lower()}{why[1:]}" if key else why


def _fields(model: type[Strict], parents: list[str]) -> list[str]:
    """Return the keys of the table at ``parents``."""
    for name in parents:
        if name in model.model_fields:
            model = _table(model.model_fields[name].annotation) or model
    return list(model.model_fields)


def _table(annotation: Any) -> type[Strict] | None:
    """Return the first `Strict` in a type such as ``dict[str, Strict]``."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next(filter(None, map(_table, get_args(annotation))), None)


def _shortened(value: Any) -> str:
    """Format a value in at most about 40 characters."""
    if isinstance(value, int) and abs(value) > 10**18:
        return f"about 10^{math.log10(abs(value)):.0f}"
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
