"""Search for the recipes that ship with the package by name."""

from pathlib import Path

import chirrup
from chirrup.errors import UsageError

_PACKAGE = Path(chirrup.__file__).parent
FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")
"""Folders of recipes in an installed package and in a checkout."""


def recipes(kind: str = "") -> dict[str, Path]:
    """Return the files of the recipes that ship with the package, by name.

    Args:
        kind: sub-folder of the recipes, such as "corpora".
    """
    found = {path.stem: path for folder in FOLDERS for path in (folder / kind).glob("*.toml")}
    return dict(sorted(found.items()))


def find_recipe(name: str, kind: str = "") -> Path:
    """Return the path of a recipe.

    Args:
        name: a file, or the name of a recipe that ships with the package.
        kind: sub-folder of the recipes.

    Raises:
        UsageError: there is no such recipe.
    """
    path = Path(name)
    if path.exists() and not path.is_dir():
        return path
    found = recipes(kind)
    if name in found:
        return found[name]
    raise UsageError(f"no recipe {name!r}: give a file, or one of {', '.join(found)}")
