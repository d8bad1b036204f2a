"""Search for the recipes that ship with the package by name."""

from pathlib import Path

import chirrup
from chirrup.errors import UsageError

_PACKAGE = Path(chirrup.__file__).parent
FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")
"""Folders of recipes in an installed package and in a checkout."""


def find_recipe(name: str, kind: str = "") -> Path:
    """Return the path of a recipe.

    Args:
        name: a file, or the name of a recipe that ships with the package.
        kind: sub-folder of the recipes, such as "corpora".

    Raises:
        UsageError: there is no such recipe.
    """
    path = Path(name)
    if path.exists() and not path.is_dir():
        return path
    recipes = {path.stem: path for folder in FOLDERS for path in (folder / kind).glob("*.toml")}
    if name in recipes:
        return recipes[name]
    raise UsageError(f"no recipe {name!r}: give a file, or one of {', '.join(sorted(recipes))}")
