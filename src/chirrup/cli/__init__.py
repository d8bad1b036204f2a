"""The command line. `main` is the command ``chirrup``; each module has one group of commands.

Commands import other modules when they run, so that ``chirrup --help`` is fast.
"""

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from chirrup.cli import (
    console,
    convert,
    data,
    devices,
    doctor,
    evaluate,
    files,
    info,
    listening,
    live,
    models,
    radio,
    serve,
    signals,
    tokens,
    train,
    usage,
)
from chirrup.cli.demo import demo
from chirrup.errors import ChirrupError
from chirrup.files.drafts import cannot_write

app = typer.Typer(
    name="chirrup",
    cls=usage.Group,
    help="Streaming neural audio codecs: speech at 1 to 6 kbit/s, music from 3 on, offline.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
GROUPS = (
    *(files, devices, info, convert, live, radio, serve),
    *(tokens, models, evaluate, listening, train),
)
for module in GROUPS:
    for command in module.COMMANDS:
        app.command(cls=usage.Command)(command)
app.command(cls=usage.Command)(demo)
app.command(cls=usage.Command)(doctor.doctor)
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="Print the version, the engines and the models."
    ),
) -> None:
    if version:
        from chirrup.cli.doctor import print_version

        print_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    Returns:
        0 for success, 2 for an error with one line on standard error, 130 for Ctrl-C. Unexpected
        exceptions are not caught.
    """
    if "" in arguments:
        return _fail("an argument is empty: check the variables and quotes of the command")
    try:
        code = app(list(arguments), prog_name="chirrup", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as end:
        if end.code != 1:
            raise
        return _nobody_reads()  # typer converts a BrokenPipeError to SystemExit(1)
    except (ChirrupError, OSError) as error:
        return _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("chirrup: interrupted", err=True)
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        fault = usage.message(error)
        context = getattr(error, "ctx", None)
        help_ = f"see {context.command_path if context else 'chirrup'} --help"
        files = [name for name in arguments if name.startswith("-") and os.path.isfile(name)]
        if files:
            help_ = f"name the file as ./{files[0]}, or {help_}"
        return _fail(f"{fault}: {help_}" if fault else help_)


def _nobody_reads() -> int:
    """End quietly if nobody reads standard output, and do not write to it again at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 2


def _fail(error: Exception | str) -> int:
    console.fail(error)
    return 2


def _open_what_is_closed() -> None:
    """Open closed standard streams, so that no file gets the descriptor of standard error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor


class _Output(io.FileIO):
    """Standard output that is not a terminal. Its error names it, and is raised once: Python writes
    the buffer again at exit."""

    failed = False

    def write(self, data: Any, /) -> int | None:
        if self.failed:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failed = True
            raise cannot_write(Path("standard output"), error) from error


def _name_output() -> None:
    """Replace standard output, so that its errors name it."""
    text = sys.stdout
    if isinstance(text, io.TextIOWrapper) and not text.isatty():
        file = io.BufferedWriter(_Output(text.fileno(), "wb", closefd=False))
        sys.stdout = io.TextIOWrapper(
            file,
            text.encoding,
            text.errors,
            line_buffering=text.line_buffering,
            write_through=text.write_through,
        )


class _Notes(logging.Handler):
    """A handler that prints the package's messages and warnings as notes of the command."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = "warning: " * (record.levelno >= logging.WARNING)
        console.note(f"{warning}{record.getMessage()}")


def main() -> None:
    """Run the command ``chirrup``."""
    _open_what_is_closed()
    logger = logging.getLogger("chirrup")
    logger.addHandler(_Notes())
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a library may have added a handler to the root
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # its encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    _name_output()

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)  # removes half-written files

    for number in signals.numbers("SIGTERM", "SIGHUP"):
        signal.signal(number, stop)
    sys.exit(run(sys.argv[1:]))
