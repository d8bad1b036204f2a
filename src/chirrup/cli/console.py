"""What commands share: pipes, progress, options, words for numbers."""

import json
import math
import re
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from chirrup.errors import FileError, UsageError

if TYPE_CHECKING:
    from chirrup.files import Decoded

LONG_SECONDS = 30
"""Audio of at least this length gets a progress bar."""


def parse_bitrate(text: str) -> float:
    """Bits a second of ``6000``, ``6k`` or ``6kbps``."""
    number = text.lower().removesuffix("bps").removesuffix("bit/s").strip()
    scale = 1000 if number.endswith("k") else 1
    try:
        value = float(number.removesuffix("k")) * scale
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{text!r} is no bitrate: use for example 6000 or 6k")
    return value


def parse_time(text: str) -> float:
    """Seconds of ``90``, ``1:30`` or ``0:01:30.5``."""
    seconds = 0.0
    try:
        if text.count(":") > 2 or text != text.strip():
            raise ValueError
        for part in text.split(":"):
            seconds = 60 * seconds + float(part)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or "-" in text:
        raise UsageError(f"{text!r} is no time: use seconds, or for example 1:30 or 0:01:30")
    return seconds


def parse_metadata(pairs: list[str]) -> dict[str, str]:
    """``key=value`` pairs."""
    result = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"metadata {pair!r} is not of the form key=value")
        result[key] = value
    return result


def visible(text: str) -> str:
    """Return text without control characters, by which a name or a tag could change a terminal."""
    return re.sub("[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def note(text: str) -> None:
    """A line on standard error, above a bar if there is one: typer's echo would end up in it."""
    if sys.stderr is not None:
        print(f"chirrup: {visible(text)}", file=sys.stderr)


def fail(error: Exception | str) -> None:
    """An error on standard error."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename}: " * bool(error.filename) + (error.strerror or text)
    text = " ".join(map(str.strip, text.splitlines()))
    note(f"error: {text}")


def warn(notes: Iterable[str], source: str) -> None:
    """What is wrong with a source, a line each."""
    for text in notes:
        note(f"warning: {'standard input' if source == '-' else source}: {text}")


def say_decoded(result: "Decoded", source: str, target: str, quiet: bool) -> None:
    """What became of audio that was decoded: damage and clipping, then where it is."""
    warn(result.damage, source)
    if result.clipped_samples:
        note(f"warning: {result.clipped_samples} samples were too loud and clipped: use --float")
    if not quiet and target != "-":
        note(f"{target}: {duration(result.seconds)} at {result.sample_rate_hz} Hz")


def print_text(text: str, indent: int = 0) -> None:
    """Print text in lines no wider than the terminal; all but the first are indented."""
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
    """Print a text beside each key, of which most have no more letters than ``width``."""
    for key, text in rows.items():
        print_text(f"  {key:<{width}} {text}", indent=width + 3)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def duration(seconds: float) -> str:
    """``7.05 s``, ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# --- pipes -------------------------------------------------------------------------------------


class LiveInput:
    """Standard input, which Ctrl-C ends instead of breaking off: what came until then counts.

    A second Ctrl-C does break off.
    """

    def __init__(self, file: BinaryIO) -> None:
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
        """The handler of SIGINT."""
        if self.waiting or self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


@contextmanager
def live_input() -> Generator[LiveInput, None, None]:
    """Standard input for ``-``."""
    if sys.stdin is None or sys.stdin.isatty():
        raise FileError("- is standard input, but nothing is piped into it: give a file")
    live = LiveInput(sys.stdin.buffer)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, live.interrupt) if main else None
    try:
        yield live
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def pipe_out() -> BinaryIO:
    """Standard output for ``-``."""
    if sys.stdout is None or sys.stdout.isatty():
        raise FileError("- is standard output, but nothing reads it: give a file, or pipe it on")
    return sys.stdout.buffer


# --- progress ----------------------------------------------------------------------------------


def _on_terminal() -> bool:
    """Whether a person sees standard error, which may be closed."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress_bar(
    text: str, quiet: bool
) -> Generator[Callable[[float, float | None], None] | None, None, None]:
    """A bar on standard error, for long audio and on a terminal only."""
    if quiet or not _on_terminal():
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
    """A bar on standard error for a run of ``done`` of ``total`` steps, saying what is next."""
    if quiet or not _on_terminal():
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total, what: bar.update(
            task, completed=done, total=total, description=what or text
        )
