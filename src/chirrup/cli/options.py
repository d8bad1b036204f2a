"""Options that several commands have: model and bitrate, with the words that complete them."""

from typing import Annotated, Any

import typer

from chirrup.cli import completion


def model(help_: str) -> Any:
    """Return an option ``--model``."""
    return typer.Option(help=help_, autocompletion=completion.models)


def bitrate(help_: str) -> Any:
    """Return an option ``--bitrate``."""
    return typer.Option("--bitrate", "-b", help=help_, autocompletion=completion.bitrates)


Model = Annotated[str, model("Name or folder of a model.")]
ModelOfInput = Annotated[
    str | None, model("Name or folder of a model; by default the one that IN names.")
]
