"""The command line. `main` is the command ``chirrup``; each module holds one group of commands.

Commands import what they need when they run, so that ``chirrup --help`` is quick.
"""

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence

import typer

from chirrup.cli import console, convert, data, evaluate, files, info, models, train
from chirrup.cli.demo import demo
from chirrup.errors import ChirrupError

app = typer.Typer(
    name="chirrup",
    help="Streaming neural audio codecs: speech at 1 to 6 kbit/s, music from 3 on, offline.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (files, info, convert, models, evaluate, train):
    for command in module.COMMANDS:
        app.command()(command)
app.command()(demo)
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        from chirrup import __version__

        typer.echo(f"chirrup {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    0 is success; 2 is a failure that one line on standard error explains; 130 is Ctrl-C. What is
    a mistake of Chirrup itself keeps its traceback.
    """

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
        return _nobody_reads()  # what typer makes of a BrokenPipeError
    except (ChirrupError, OSError) as error:
        return _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("chirrup: interrupted", err=True)
        return 130
    except Exception as error:
        usage = getattr(error, "format_message", None)  # of an error of the command line itself
        if usage is None:
            raise
        context = getattr(error, "ctx", None)
        help_ = f"see {context.command_path if context else 'chirrup'} --help"
        files = [name for name in arguments if name.startswith("-") and os.path.isfile(name)]
        if files:
            help_ = f"name the file as ./{files[0]}, or {help_}"
        return _fail(f"{usage().rstrip('.')}: {help_}" if usage() else help_)


def _nobody_reads() -> int:
    """Whoever read our output has gone: quietly, and without another try when Python ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 2


def _fail(error: Exception | str) -> int:
    console.fail(error)
    return 2


def _open_what_is_closed() -> None:
    """Let no file that is opened later be standard error, to which libraries write."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


class _Warnings(logging.Handler):
    """Print warnings of the package as the command's own."""

    def emit(self, record: logging.LogRecord) -> None:
        console.note(f"warning: {record.getMessage()}")


def main() -> None:
    """The command ``chirrup``."""
    _open_what_is_closed()
    logger = logging.getLogger("chirrup")
    logger.addHandler(_Warnings(logging.WARNING))
    logger.propagate = False  # a library may have given the root a handler
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # of an encoding that may lack a letter
            stream.reconfigure(errors="backslashreplace")

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)  # so that half-written files are removed

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # not everywhere
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as by nohup
            signal.signal(number, stop)
    sys.exit(run(sys.argv[1:]))
