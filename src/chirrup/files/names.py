"""Kinds of paths: a regular file, a pipe or device, or an open descriptor of this process."""

import os
import re
from pathlib import Path

from chirrup.bitstream import MAGIC


def names_file(path: Path) -> bool:
    """Return whether a path names a regular file, which need not exist."""
    return descriptor_of(path) is None and (path.is_file() or not path.exists())


def is_coded(path: Path) -> bool:
    """Return whether a file can be read and begins like a ``.chirrup`` file."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def descriptor_of(path: Path) -> int | None:
    """Return the descriptor that a path such as ``/dev/fd/3`` or ``/dev/stdout`` names, or None.

    Opening such a path again would empty a file or start at its beginning, and fails for a socket.
    """
    for _ in range(8):  # a link may point to a link
        folder = os.path.realpath(path.parent)
        ours = re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", folder)
        if ours and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None
