"""Many files in one command: the output of each input, and work on several at a time."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import Generic, TypeVar

from chirrup.errors import ChirrupError, FileError
from chirrup.files.meter import Progress
from chirrup.files.naming import AUDIO_ENDINGS, CODED_ENDING, Naming

T = TypeVar("T")

WAIT_SECONDS = 0.5
"""Time after which a signal is noticed at the latest."""


@dataclass(frozen=True)
class Pair:
    """An input and its output."""

    source: Path
    target: Path


@dataclass
class Plan:
    """The work of a command.

    Attributes:
        pairs: every input with its output. All outputs differ.
        left_out: files in the folders that are neither audio nor ``.chirrup`` files by name, and
            pipes, broken links and links to folders, which are not followed.
        unreadable: the errors of folders that cannot be read.
    """

    pairs: list[Pair] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    unreadable: list[OSError] = field(default_factory=list)


def plan(sources: Sequence[str], folder: Path | None, naming: Naming) -> Plan:
    """Assign an output to each input.

    Args:
        sources: files and folders. All inputs in a folder and its sub-folders are used.
        folder: folder of the outputs. A folder among the sources keeps its sub-folders there. None
            puts each output beside its input.
        naming: rule for the names of outputs.

    Raises:
        FileError: a source does not exist or is a pipe, a source is a folder but ``folder`` is
            None, or two inputs would have the same output.
    """
    result = Plan()
    outputs: dict[Path, Path] = {}  # by input
    for name in sources:
        source = Path(name)
        if name == "-":
            raise FileError("- is standard input, so the output has no name: give OUT")
        if source.is_dir():
            if folder is None:
                raise FileError(f"{source} is a folder: name one for the outputs with --out FOLDER")
            for path in files_in(source, naming, result):
                outputs[path] = folder / naming.output(path).relative_to(source)
        elif source.exists():
            output = naming.output(source)
            outputs[source] = folder / output.name if folder else output
        else:
            hint = "" if folder else "; a folder for the outputs is named with --out FOLDER"
            raise FileError(f"{source} does not exist{hint}")
    result.pairs = [Pair(source, target) for source, target in _distinct(outputs, naming)]
    return result


def files_in(folder: Path, naming: Naming, plan: Plan) -> Iterator[Path]:
    """Find the inputs in a folder by name, except hidden files and folders."""
    for place, folders, names in os.walk(folder, onerror=plan.unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        plan.left_out += (path for name in folders if (path := Path(place, name)).is_symlink())
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if naming.is_input(path) and path.is_file():
                yield path
            elif naming.is_input(path) or path.suffix.lower() not in {*AUDIO_ENDINGS, CODED_ENDING}:
                plan.left_out.append(path)


def _distinct(outputs: dict[Path, Path], naming: Naming) -> Iterator[tuple[Path, Path]]:
    """Yield inputs and outputs. Inputs that differ only in their endings keep the endings."""
    counts = Counter(outputs.values())
    taken: dict[Path, Path] = {}
    for source, target in outputs.items():
        if counts[target] > 1:
            target = target.with_name(source.name + naming.ending)
        if target in taken:
            raise FileError(
                f"{taken[target]} and {source} would both become {target}: give them different "
                "folders for the outputs"
            )
        taken[target] = source
        yield source, target


# --- work --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done(Generic[T]):
    """The result of an input, or its error."""

    pair: Pair
    result: T | None
    error: Exception | None


class _StoppedError(Exception):
    """Ends the work on a file when all work ends."""


def _next(queue: SimpleQueue[T]) -> T:
    """Return the next item. A wait without an end can miss a signal that comes as it begins."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=WAIT_SECONDS)


def run_each(
    pairs: Sequence[Pair], work: Callable[[Pair, Progress], T], workers: int
) -> Generator[Done[T], None, None]:
    """Run a function for each input, several at a time, and continue if one fails.

    The work is done in threads with one model, because the engines take nearly all of the time and
    run in several threads at once.

    Args:
        pairs: inputs and outputs.
        work: function of an input and of a function that it calls after each block. ChirrupError
            and OSError are results; other exceptions end all work.
        workers: number of inputs at a time.

    Yields:
        The results as they are completed.
    """
    stopping = Event()

    def check(done: float, total: float | None) -> None:
        if stopping.is_set():
            raise _StoppedError

    def one(pair: Pair) -> Done[T]:
        try:
            return Done(pair, work(pair, check), None)
        except (ChirrupError, OSError) as error:
            return Done(pair, None, error)

    with ThreadPoolExecutor(workers) as pool:
        try:
            finished: SimpleQueue[Future[Done[T]]] = SimpleQueue()
            for pair in pairs:
                pool.submit(one, pair).add_done_callback(finished.put)
            for _ in pairs:
                yield _next(finished).result()
        finally:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
