"""What is wrong with a configuration, in words: which keys there are, and which values."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

LONGEST = 60
"""Characters that are shown of a value."""


def in_words(error: ValidationError, config: type[BaseModel]) -> str:
    """Return all mistakes that pydantic has found in a configuration."""
    return "; ".join(_mistake(dict(one), config) for one in error.errors(include_url=False))


def _mistake(error: dict[str, Any], config: type[BaseModel]) -> str:
    *parents, key = error["loc"] or ("",)
    place = ".".join(map(str, parents))
    if error["type"] == "extra_forbidden":
        where = f"{place} has" if place else "there is"
        return f"{where} no key {key!r}: use one of {', '.join(_keys(config, parents))}"
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "value_error":
        return ": ".join(filter(None, (name, str(error["ctx"]["error"]))))
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"{name} is {repr(error['input'])[:LONGEST]}: {message}"


def _keys(config: type[BaseModel], parents: list[str | int]) -> list[str]:
    """Return the keys of a table, given by its place in the configuration."""
    for part in parents:
        if isinstance(part, str) and part in config.model_fields:
            config = next(_models(config.model_fields[part].annotation), config)
    return list(config.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
