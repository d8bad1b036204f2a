"""Options that several commands have, with the words that complete them."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from chirrup.cli import completion


def model(help_: str) -> Any:
    """Return an option ``--model``."""
    return typer.Option(metavar="MODEL", help=help_, autocompletion=completion.models)


def bitrate(help_: str, default: str = "the model's default, 6k for iris-t1") -> Any:
    """Return an option ``--bitrate``."""
    return typer.Option(
        "--bitrate",
        "-b",
        metavar="BPS",
        help=f"{help_}; by default {default}.",
        autocompletion=completion.bitrates,
    )


def utf8(value: str | list[str] | None) -> str | list[str] | None:
    """Return the value of an option that is stored as text; an argument may have other bytes."""
    for text in [value] if isinstance(value, str) else value or []:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise typer.BadParameter(f"'{text}' is not UTF-8, so convert it") from error
    return value


def choice(values: type[StrEnum], help_: str, *names: str) -> Any:
    """Return an option that takes one of these values."""
    return typer.Option(*names, metavar="|".join(values), help=help_)


Model = Annotated[str, model("Name or folder of a model.")]
ModelOfInput = Annotated[
    str | None, model("Name or folder of a model; by default the one that IN names.")
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="Number of a device, or a part of its name; by default the system's.",
    ),
]
Workers = Annotated[
    int, typer.Option(min=1, metavar="N", help="Number of processes on this machine.")
]
