"""Functions that commands share: options, messages, pipes and progress bars."""

import json
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from chirrup.cli import signals
from chirrup.errors import ChirrupError, FileError, UsageError
from chirrup.words import counted, one_line

if TYPE_CHECKING:
    from rich.table import Table

    from chirrup.bitstream import Readable
    from chirrup.files import Decoded

CLIPPED_SHARE = 1e-4
"""Share of clipped samples of a decoded file above which a command warns. A few are inaudible."""
LONG_SECONDS = 30
"""Shortest audio with a progress bar."""
SHORTEST_RATED = 0.1
"""Shortest audio in seconds whose file has a bitrate in a summary. The header is most of a shorter
file."""


def parse_bitrate(text: str) -> float:
    """Parse a bitrate such as ``6000``, ``6k`` or ``6kbps``; return bit/s."""
    number = text.lower().removesuffix("bps").removesuffix("bit/s").strip()
    scale = 1000 if number.endswith("k") else 1
    try:
        value = float(number.removesuffix("k")) * scale
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{text!r} is not a bitrate: use for example 6000 or 6k")
    return value


def optional_bitrate(text: str | None) -> float | None:
    """Parse the bitrate of an option; None if the option is not given."""
    return None if text is None else parse_bitrate(text)


def parse_time(text: str) -> float:
    """Parse a time such as ``90``, ``1:30`` or ``0:01:30.5``; return seconds.

    Only the first number may be 60 or more.
    """
    seconds, why = 0.0, ""
    try:
        if text.count(":") > 2 or text != text.strip():
            raise ValueError
        for place, part in enumerate(text.split(":")):
            if place and float(part) >= 60:
                why = f", because {part} is more than 59"
            seconds = 60 * seconds + float(part)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or "-" in text:
        why = ""
    elif not why:
        return seconds
    raise UsageError(f"{text!r} is not a time{why}: use seconds, or for example 1:30 or 0:01:30")


def parse_metadata(pairs: list[str]) -> dict[str, str]:
    """Parse texts of the form ``key=value``."""
    result = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"metadata {pair!r} is not of the form key=value")
        result[key] = value
    return result


def visible(text: str) -> str:
    """Escape the control characters of a text, so that a name or a tag cannot change a terminal.

    Bytes of a name that are not UTF-8 are escaped too.
    """
    text = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return re.sub("[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def note(text: str) -> None:
    """Print a line on standard error, above a progress bar. (typer.echo would print into it.)"""
    if sys.stderr is not None:
        print(f"chirrup: {visible(text)}", file=sys.stderr)


def fail(error: Exception | str) -> None:
    """Print an error on standard error. The message of a library may have several lines."""
    text = str(error)
    cause = getattr(error, "__cause__", None)
    if cause is not None and not isinstance(cause, (ChirrupError, OSError)):
        text = text.replace(str(cause), one_line(str(cause)))
    if isinstance(error, OSError):
        text = f"{error.filename}: " * bool(error.filename) + (error.strerror or text)
    note(f"error: {text}")


def warn(notes: Iterable[str], source: str) -> None:
    """Print a warning for each fault of a source."""
    for text in notes:
        note(f"warning: {'standard input' if source == '-' else source}: {text}")


def print_decoded(result: "Decoded", source: str, target: str, quiet: bool) -> None:
    """Print the damage and the clipping of decoded audio, and the path of the output."""
    warn(result.damage, source)
    if result.clipped_samples > CLIPPED_SHARE * result.samples * result.channels:
        clipped = counted(result.clipped_samples, "sample")
        warn([f"clipped {clipped} beyond full scale: use --float to keep them"], target)
    if not quiet and target != "-":
        note(f"{target}: {duration(result.seconds)} at {result.sample_rate_hz} Hz")


def print_text(text: str, indent: int = 0) -> None:
    """Print text in lines no wider than the terminal. Lines after the first are indented."""
    width = shutil.get_terminal_size().columns
    lines = textwrap.wrap(
        visible(text),
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    typer.echo("\n".join(lines))


def print_rows(rows: Mapping[str, str], width: int) -> None:
    """Print each key, padded to ``width`` characters, and its text."""
    for key, text in rows.items():
        print_text(f"  {key:<{width}} {text}", indent=width + 3)


def print_table(table: "Table") -> None:
    """Print a table. Rich reads no markup in its texts, such as the brackets of file names.

    No word is cut. If the terminal is too narrow for the words, lines are longer than it.
    """
    from rich.console import Console
    from rich.measure import Measurement

    for column in table.columns:
        cells = [str(cell) for cell in (column.header, *column.cells)]
        split = str.splitlines if column.no_wrap else str.split
        parts = [part for cell in cells for part in split(cell)]
        column.min_width = max(map(len, parts), default=0)
    console = Console(markup=False, emoji=False)
    least = Measurement.get(console, console.options.update(max_width=1000), table).minimum
    console.width = max(console.width, least)
    console.print(table, crop=False)  # Rich may still make a column wider than its share


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2))


def duration(seconds: float) -> str:
    """Format a duration: ``7.05 s``, ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# --- pipes -------------------------------------------------------------------------------------


class LiveInput:
    """A live input, which ends at Ctrl-C, so that the data until then is kept.

    A second Ctrl-C raises KeyboardInterrupt.
    """

    def __init__(self, file: "Readable") -> None:
        from chirrup.files.inputs import source_name

        self.label = source_name(file)
        self.file, self.waiting, self.interrupted = file, False, False

    def read1(self, size: int) -> bytes:
        return self._read(getattr(self.file, "read1", self.file.read), size)

    def read(self, size: int) -> bytes:
        return self._read(self.file.read, size)

    def _read(self, read: Callable[[int], bytes], size: int) -> bytes:
        self.waiting = True
        try:
            return b"" if self.interrupted else read(size)
        except KeyboardInterrupt:
            self.interrupted = True
            return b""
        finally:
            self.waiting = False

    def interrupt(self, *_: object) -> None:
        """Handle a signal."""
        if self.waiting or self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


@contextmanager
def live_input() -> Generator[LiveInput, None, None]:
    """Open standard input for ``-``."""
    with until_interrupted(pipe_in()) as live:
        yield live


def pipe_in() -> BinaryIO:
    """Return standard input for ``-``."""
    if sys.stdin is None or sys.stdin.isatty():
        raise FileError("- is standard input, but nothing is piped into it: give a file")
    return sys.stdin.buffer


@contextmanager
def until_interrupted(
    file: "Readable", names: tuple[str, ...] = signals.INTERRUPT
) -> Generator[LiveInput, None, None]:
    """Make a binary file end at Ctrl-C, or at other signals."""
    live = LiveInput(file)
    with signals.handled(live.interrupt, names):
        yield live


def pipe_out() -> BinaryIO:
    """Return standard output for ``-``."""
    if sys.stdout is None or sys.stdout.isatty():
        raise FileError("- is standard output, but nothing reads it: give a file, or pipe it on")
    return sys.stdout.buffer


def device(text: str | None) -> str | int | None:
    """Return the number of a device, or a part of its name."""
    return int(text) if text is not None and text.isdecimal() else text


def unbuffered(file: BinaryIO) -> BinaryIO:
    """Return a standard stream without its buffer, for a thread that may still wait at exit.

    Python ends with a fatal error if a thread then holds the lock of the buffer.
    """
    return getattr(file, "raw", file)


# --- progress ----------------------------------------------------------------------------------


def on_terminal() -> bool:
    """Return whether standard error is a terminal that can rewrite a line. It may be closed."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stderr is not None and sys.stderr.isatty() and not dumb


@contextmanager
def progress_bar(
    text: str, quiet: bool
) -> Generator[Callable[[float, float | None], None] | None, None, None]:
    """Show a progress bar on standard error, only for long audio and on a terminal."""
    if quiet or not on_terminal():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, visible=False)

        def show(done: float, total: float | None) -> None:
            long = (done if total is None else total) >= LONG_SECONDS
            bar.update(task, completed=done, total=total, visible=long)

        yield show


@contextmanager
def steps(text: str, quiet: bool) -> Generator[Callable[[int, int, str], None], None, None]:
    """Show a progress bar for a number of steps, only on a terminal.

    Yields:
        A function of the steps done, their total number and the name of the next step.
    """
    if quiet or not on_terminal():
        yield lambda done, total, step: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    name = TextColumn("{task.description}", markup=False)  # a name may have brackets
    columns = (name, *Progress.get_default_columns()[1:], MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total, step: bar.update(
            task, completed=done, total=total, description=visible(step) or text
        )


@contextmanager
def level_meter(
    peak: Callable[[], float], quiet: bool
) -> Generator[Callable[[float, float | None], None] | None, None, None]:
    """Show the time and the level of a recording on standard error, only on a terminal."""
    if quiet or not on_terminal():
        yield None
        return

    def show(done: float, _total: float | None) -> None:
        level_db = 20 * math.log10(max(peak(), 1e-3))
        bar = "#" * round((level_db + 60) / 2)
        sys.stderr.write(f"\r{duration(done)} {level_db:4.0f} dB |{bar[:30]:<30}| Ctrl-C ends ")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\n")
