"""Words that a shell completes: models, their bitrates, recipes and codecs of a comparison.

A shell waits for these functions, so they open no engine and use no network.
"""

import os
from collections.abc import Iterable
from glob import escape, glob
from pathlib import Path

import typer

from chirrup.cli.recipes import recipes
from chirrup.errors import ChirrupError


def models(incomplete: str) -> list[str]:
    """Return the models that ship with the package. The shell completes folders if none fits."""
    from chirrup.zoo import models

    return _fitting(models(earlier="@" in incomplete), incomplete)


def models_or_paths(incomplete: str) -> list[str]:
    """Return models, and the files and folders whose names begin alike.

    The shell completes paths if no model fits.
    """
    if not (fitting := models(incomplete)):
        return []
    paths = sorted(map(Path, glob(f"{escape(incomplete)}*")))
    return [*fitting, *(f"{path}{os.sep * path.is_dir()}" for path in paths)]


def bitrates(context: typer.Context, incomplete: str) -> list[str]:
    """Return the bitrates of the model on the command line, such as ``6k``."""
    from chirrup.model_folders import FOLDER, is_shipped
    from chirrup.model_json import read_spec
    from chirrup.zoo import DEFAULT

    model = context.params.get("model") or DEFAULT
    try:
        spec, _ = read_spec(FOLDER / model if is_shipped(model) else Path(model))
    except (ChirrupError, OSError):
        return []
    trained = [rate for rate in spec.bitrates_bps if rate >= spec.lowest_bitrate_bps]
    numbers = [str(rate) for rate in trained]
    short = [f"{rate / 1000:g}k" if rate % 10 == 0 else str(rate) for rate in trained]
    return _fitting(short, incomplete) or _fitting(numbers, incomplete)


def training_recipes(incomplete: str) -> list[str]:
    """Return the recipes of ``chirrup train``."""
    return _fitting(recipes(), incomplete)


def corpus_recipes(incomplete: str) -> list[str]:
    """Return the recipes of ``chirrup data prepare``."""
    return _fitting(recipes("corpora"), incomplete)


def codecs(incomplete: str) -> list[str]:
    """Return the models and the other codecs of ``chirrup evaluate``."""
    from chirrup.evaluate.peers import PEERS

    return [*models(incomplete), *_fitting(PEERS, incomplete)]


def _fitting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
