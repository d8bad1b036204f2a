"""Reading of a model folder's files, which may come from anybody, with limits on their size."""

import hashlib
import stat
from pathlib import Path

from chirrup.errors import ModelError

BLOCK_BYTES = 1 << 20
AGAIN = "install, export or download the model again (a download after `hf cache rm`)"
"""The remedy for a damaged model: the hub's cache would give a damaged file again."""


def regular_size(path: Path, most_bytes: int) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        ModelError: the path is missing, is a device, pipe or folder, or is larger than
            ``most_bytes``.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is not a regular file")
    if status.st_size > most_bytes:
        raise ModelError(f"{path} has {status.st_size} bytes; at most {most_bytes} are expected")
    return status.st_size


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Read a whole file. Raises ModelError as `regular_size` does."""
    size = regular_size(path, most_bytes)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def sha256_of(path: Path, most_bytes: int) -> str:
    """Return a file's SHA-256 in hexadecimal. Raises ModelError as `regular_size` does."""
    left, hashed = regular_size(path, most_bytes), hashlib.sha256()
    try:
        with path.open("rb") as file:
            while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
                hashed.update(block)
                left -= len(block)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    return hashed.hexdigest()
