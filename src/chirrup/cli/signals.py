"""Signals that end a command."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

INTERRUPT = ("SIGINT",)
"""Ctrl-C."""
ENDS = (*INTERRUPT, "SIGTERM", "SIGHUP")
"""Ctrl-C, the end of a service or of the system, and a closed terminal."""


def numbers(*names: str) -> list[signal.Signals]:
    """Return the numbers of signals, without those that the system lacks, or that are ignored.

    For example nohup ignores SIGHUP. SIGINT is returned even in background jobs, which ignore it.
    """
    found = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ignored = signal.SIG_IGN
    return [n for n in found if n == signal.SIGINT or signal.getsignal(n) != ignored]


@contextmanager
def handled(
    handler: Callable[..., None], names: tuple[str, ...] = ENDS
) -> Generator[None, None, None]:
    """Handle signals. In another thread than the main one, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers(*names)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
