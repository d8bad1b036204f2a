"""Inputs and outputs of ``encode`` and ``decode``: one input, or many files and folders."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from chirrup.cli import console
from chirrup.errors import FileError
from chirrup.files import Source, Target
from chirrup.files.meter import Progress
from chirrup.files.names import names_file
from chirrup.files.naming import AUDIO_ENDINGS, CODED_ENDING, Naming
from chirrup.files.several import Pair, Plan, plan, run_each
from chirrup.words import counted

T = TypeVar("T")
SHOWN = 5
"""Most files that a note lists."""


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command that makes an output from each input.

    Attributes:
        text: description of the work in the progress bar.
        naming: rule for the names of outputs.
        work: makes the output. Its last argument is whether to read a pipe to its end.
        report: prints the result for an input and its output. Its last argument is whether Ctrl-C
            has ended the input.
        exists: returns whether a path is an output of an earlier run.
    """

    text: str
    naming: Naming
    work: Callable[[Source, Target, Progress | None, bool], T]
    report: Callable[[T, str, str, bool], None]
    exists: Callable[[Path], bool]


def run(
    command: Command[T],
    paths: Sequence[str],
    out: Path | None,
    *,
    force: bool,
    workers: int,
    quiet: bool,
) -> int:
    """Run a command with the arguments ``IN... [OUT]`` and the option ``--out``.

    OUT is the second of two paths, unless it is also an input.

    Returns:
        The exit code: 2 if any of several inputs failed, 130 if Ctrl-C has ended the input.
    """
    inputs, target = paths, None
    if out is None and len(paths) == 2 and not _is_input(paths[1], command.naming):
        inputs, target = paths[:1], paths[1]
    if out is None and len(inputs) == 1 and not Path(inputs[0]).is_dir():
        return _run_one(command, inputs[0], _output(inputs[0], target, command.naming), quiet)
    if target == "-":
        raise FileError("- takes only one output: name a folder with --out FOLDER")
    folder = out if target is None else Path(target)
    if folder is not None and _is_file_name(folder):
        raise FileError(_not_a_folder(folder, inputs, command.naming))
    todo = plan(inputs, folder, command.naming)
    if not todo.pairs and not todo.unreadable:
        raise FileError(f"{' and '.join(inputs)} has no file that {command.text} takes")
    pairs = [pair for pair in todo.pairs if force or not command.exists(pair.target)]
    errors: dict[Pair, Exception | None] = {}
    try:
        _run_many(command, pairs, workers, quiet, errors)
    finally:  # also after a signal
        failed = [error for pair in pairs if (error := errors.get(pair)) is not None]
        for error in (*todo.unreadable, *failed):
            console.fail(error)
        if not quiet:
            _sum_up(todo, pairs, errors, force)
    return 2 if failed or todo.unreadable else 0


def _is_input(name: str, naming: Naming) -> bool:
    path = Path(name)
    return naming.is_input(path) and path.is_file() and names_file(path)


def _is_file_name(path: Path) -> bool:
    """Return whether a path is a file, or has the ending of an audio or ``.chirrup`` file."""
    named = path.suffix.lower() in {*AUDIO_ENDINGS, CODED_ENDING}
    return not path.is_dir() and (path.exists() or named)


def _not_a_folder(path: Path, inputs: Sequence[str], naming: Naming) -> str:
    """Return the error message for a folder of outputs that is the name of a file."""
    text = f"{path} is the name of a file: name a folder for the outputs with --out FOLDER"
    if len(inputs) > 1 or Path(inputs[0]).is_dir():
        return text
    ending = Path(f"x{naming.ending}").suffix
    return f"{text}, or give one output after IN without --out, with the ending {ending}"


def _output(source: str, target: str | None, naming: Naming) -> str:
    """Return the output of one input: the target, a file in the target, or beside the input."""
    if target is None:
        return "-" if source == "-" else str(naming.output(Path(source)))
    if target.endswith(os.sep) and not Path(target).exists():
        raise FileError(f"the folder {target} does not exist: make it, or name it with --out")
    if source != "-" and Path(target).is_dir():
        return str(Path(target) / naming.output(Path(source)).name)
    return target


def _run_one(command: Command[T], source: str, target: str, quiet: bool) -> int:
    with ExitStack() as stack:
        live = stack.enter_context(console.live_input()) if source == "-" else None
        progress = stack.enter_context(console.progress_bar(command.text, quiet))
        place = console.pipe_out() if target == "-" else target
        result = command.work(live or source, place, progress, live is not None)
    interrupted = live is not None and live.interrupted
    command.report(result, source, target, interrupted)
    return 130 if interrupted else 0


def _run_many(
    command: Command[T],
    pairs: Sequence[Pair],
    workers: int,
    quiet: bool,
    errors: dict[Pair, Exception | None],
) -> None:
    """Work on each input, and set its error in ``errors``, or None when it is done."""

    def work(pair: Pair, progress: Progress) -> T:
        pair.target.parent.mkdir(parents=True, exist_ok=True)
        result = command.work(pair.source, pair.target, progress, False)
        errors[pair] = None
        return result

    with (
        console.steps(command.text, quiet) as progress,
        closing(run_each(pairs, work, workers)) as results,
    ):
        for number, done in enumerate(results, 1):
            errors[done.pair] = done.error
            if done.result is not None:
                command.report(done.result, str(done.pair.source), str(done.pair.target), False)
            progress(number, len(pairs), done.pair.source.name)


def _sum_up(
    todo: Plan, pairs: Sequence[Pair], errors: dict[Pair, Exception | None], force: bool
) -> None:
    failed = sum(error is not None for error in errors.values())
    parts = [f"{len(errors) - failed} of {counted(len(todo.pairs), 'file')} done"]
    if skipped := len(todo.pairs) - len(pairs):
        parts.append(f"{skipped} skipped because their outputs exist (-f overwrites them)")
    if failed:
        parts.append(f"{failed} failed")
    if left := len(pairs) - len(errors):
        parts.append(f"{left} not done" + ("" if force else ": run the command again to continue"))
    console.note("; ".join(parts))
    if todo.left_out:
        names = ", ".join(map(str, todo.left_out[:SHOWN]))
        more = ", ..." if len(todo.left_out) > SHOWN else ""
        console.note(f"left out: {names}{more}")
