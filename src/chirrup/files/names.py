"""What a path names: a file, or a pipe, a device, or a descriptor that the shell has opened."""

import os
import re
from pathlib import Path


def names_file(path: Path) -> bool:
    """Whether a path names a regular file: one that is there, or one that is to be made."""
    return descriptor_of(path) is None and (path.is_file() or not path.exists())


def descriptor_of(path: Path) -> int | None:
    """The descriptor of this process that ``/dev/fd/3``, ``/dev/stdout`` and their like name.

    To open such a path again would begin at the start of a file, empty it, or fail for a socket.
    """
    for _ in range(8):  # links to links
        folder = os.path.realpath(path.parent)
        ours = re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", folder)
        if ours and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None
