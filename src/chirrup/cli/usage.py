"""The class of all commands, which prints arguments as the documentation writes them, and the
errors of wrong arguments."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from typer import Abort
from typer.core import TyperCommand, TyperGroup

from chirrup.words import one_line

WRONG = {
    "int_parsing": "is not a whole number",
    "float_parsing": "is not a number",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
}
"""What is wrong with a value, by the type of the error of pydantic, which Typer uses."""


class Group(TyperGroup):
    """The group of all commands. Ctrl-C raises Abort, where Typer would only exit with 130."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the arguments before the command."""
        with _aborting():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the arguments of the command, and run it."""
        with _aborting():
            return super().invoke(ctx)


@contextmanager
def _aborting() -> Generator[None, None, None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise Abort from error


class Command(TyperCommand):
    """A command whose help has the arguments ``IN``, ``[IN]`` or ``IN...``.

    Typer prints ``{IN}`` in the usage, and adds the name of a Python type to each argument.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Each error names the command, also where the parser does not."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            fault: Any = error
            if getattr(error, "ctx", ctx) is None:
                fault.ctx = ctx
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage after the name of the command."""
        return ["[OPTIONS]", *(_usage(parameter) for parameter in self._of_kind("argument", ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        arguments = [
            (parameter.metavar, parameter.get_help_record(ctx)[1])
            for parameter in self._of_kind("argument", ctx)
        ]
        options = [parameter.get_help_record(ctx) for parameter in self._of_kind("option", ctx)]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _of_kind(self, kind: str, ctx: Any) -> list[Any]:
        return [found for found in self.get_params(ctx) if found.param_type_name == kind]


def _usage(argument: Any) -> str:
    """Return an argument as the usage has it."""
    word = argument.metavar if argument.required else f"[{argument.metavar}]"
    return f"{word}{'...' * (argument.nargs != 1)}"


def message(error: Any) -> str:
    """Return the message of an error in the arguments, with the wrong value."""
    text = one_line(error.format_message()).rstrip(".")
    errors = getattr(error.__cause__, "errors", None)
    if errors is None:
        return text
    fault = errors()[0]
    what = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in WRONG:
        what = WRONG[fault["type"]].format(**fault.get("ctx", {}))
        what = f"{str(fault['input'])!r} {what}"
    return f"{text.partition(': ')[0]}: {what}"
