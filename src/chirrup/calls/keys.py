"""Push-to-talk: a key of the terminal decides whether a voice is sent."""

import os
import select
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from chirrup.errors import UsageError

Mode = Literal["hold", "toggle"]
KEY: Final = b" "
HOLD_S: Final = 0.7
"""Time after which a key that does not repeat counts as released. Terminals send no release."""


class PushToTalk:
    """The space bar of a terminal. It belongs to one thread.

    Args:
        descriptor: descriptor of the terminal.
        mode: ``hold`` talks while the key is pressed, ``toggle`` from one press to the next.
    """

    def __init__(self, descriptor: int, mode: str) -> None:
        self._descriptor, self._mode = descriptor, mode
        self._on, self._until_s = False, 0.0

    def talks(self) -> bool:
        """Read the keys that were pressed, and return whether the voice is sent."""
        now_s = time.monotonic()
        while select.select([self._descriptor], [], [], 0)[0]:
            keys = os.read(self._descriptor, 100)
            if not keys:
                break
            self._on ^= bool(keys.count(KEY) % 2)
            self._until_s = now_s + HOLD_S if KEY in keys else self._until_s
        return self._on if self._mode == "toggle" else now_s < self._until_s


@contextmanager
def open_keys(mode: str) -> Generator[PushToTalk, None, None]:
    """Read the keys of standard input at once, without an echo. Ctrl-C still is a signal.

    Raises:
        UsageError: standard input is not a terminal, or the mode does not exist.
    """
    if mode not in get_args(Mode):
        raise UsageError(f"--push-to-talk {mode} is not known: use hold or toggle")
    try:
        import termios
        import tty
    except ModuleNotFoundError as error:
        raise UsageError("--push-to-talk needs a terminal of Linux or macOS") from error
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("--push-to-talk needs a terminal: standard input is a file or pipe")
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield PushToTalk(descriptor, mode)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
