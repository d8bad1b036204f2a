"""Worker processes of a command, which end with it."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread


@contextmanager
def open_pool(
    count: int, scratch: Path | None = None
) -> Generator[ProcessPoolExecutor, None, None]:
    """Open a pool of ``count`` worker processes.

    Workers ignore Ctrl-C, which the main process handles. They end with the main process, also if
    it is killed, and at once if the body raises an exception.

    Args:
        count: number of processes.
        scratch: folder for the workers' temporary files. None is the folder of the system.
    """
    spawn = multiprocessing.get_context("spawn")
    reading, writing = spawn.Pipe(duplex=False)
    # Only this process has the writing end. When it ends, the reading ends of the workers close.
    with (
        reading,
        writing,
        ProcessPoolExecutor(count, spawn, initializer=_serve, initargs=(reading, scratch)) as pool,
    ):
        try:
            yield pool
        except BaseException:
            writing.close()
            raise


def _serve(parent: Connection, scratch: Path | None) -> None:
    """Initialise a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if scratch is not None:
        tempfile.tempdir = str(scratch)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)
