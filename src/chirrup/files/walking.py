"""Files below a folder, where a folder that cannot be read is an error instead of missing files."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from chirrup.errors import FileError

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def files_below(folder: Path, hidden: bool = True) -> Iterator[Path]:
    """Yield all files below a folder, folder by folder, in the order of their names.

    A folder that does not exist has no files.

    Args:
        hidden: whether names that begin with a dot are included.

    Raises:
        FileError: a folder cannot be read.
    """
    for place, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = sorted(name for name in folders if hidden or name[0] != ".")
        yield from (Path(place, name) for name in sorted(names) if hidden or name[0] != ".")


def _fail(error: OSError) -> None:
    if error.errno not in _MISSING:
        raise unreadable(error) from error


def unreadable(error: OSError) -> FileError:
    """Return the error of a folder that cannot be read."""
    return FileError(f"{error.filename} cannot be read: {error.strerror}: check its permissions")
