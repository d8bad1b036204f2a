"""Files that appear whole or not at all, and folders that are locked while a command writes."""

import atexit
import errno
import os
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from chirrup.errors import FileError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None


@contextmanager
def open_draft(path: Path, force: bool = True) -> Generator[Path, None, None]:
    """Make an empty file in the folder of ``path``, which replaces ``path`` at the end.

    After an error it is removed.

    Args:
        path: path of the finished file. A device or a named pipe is yielded itself.
        force: replace a file that exists at the end.

    Raises:
        FileError: the draft cannot be made, or a file exists at the end and ``force`` is not set.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = Path(os.path.realpath(path))
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    _remove_leftovers(path)
    draft, descriptor = _new_draft(path, lambda draft: _new_file(draft, mode is None))
    try:
        with open(descriptor, "rb") as locked:
            yield draft
            if mode is not None:
                draft.chmod(mode)
            _sync(descriptor, path)
            if fcntl is None:  # Windows does not rename open files
                locked.close()
            _publish(draft, path, force)
    finally:
        _remove(draft)


def check_writable(path: Path) -> None:
    """Make a draft of one byte and remove it; raise FileError if it cannot be written.

    A command that waits for its input thus ends before it waits.
    """

    def make(draft: Path) -> int:
        descriptor = _new_file(draft, public=False)
        try:
            os.write(descriptor, b"\0")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    draft, descriptor = _new_draft(Path(os.path.realpath(path)), make)
    os.close(descriptor)
    _remove(draft)


@contextmanager
def written(path: Path) -> Generator[Path, None, None]:
    """Open a draft as `open_draft` does, and raise each OSError of the body as a FileError."""
    with open_draft(path) as draft:
        try:
            yield draft
        except OSError as error:
            raise cannot_write(path, error) from error


@contextmanager
def writing_into(folder: Path) -> Generator[None, None, None]:
    """Raise an OSError that names no file, such as the error of a full disk, as a FileError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> FileError:
    """Return the error for a path that cannot be written."""
    return FileError(f"{path} cannot be written: {error.strerror or error}")


def exists(path: Path) -> FileError:
    """Return the error for an output that exists."""
    return FileError(f"{path} exists: give another output, or overwrite it with --force (-f)")


@contextmanager
def open_scratch(path: Path) -> Generator[Path, None, None]:
    """Make a folder for temporary files in the folder of ``path``, and remove it at the end.

    The folder of ``path`` is made if there is none. If the process is killed, the next process that
    makes a draft or such a folder for the same path removes it.

    Raises:
        FileError: the folder cannot be made.
    """
    path = Path(os.path.realpath(path))
    _remove_leftovers(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    folder, descriptor = _new_draft(path, _new_folder)
    try:
        yield folder
    finally:
        os.close(descriptor)
        _remove(folder)


@contextmanager
def only_one(folder: Path, command: str) -> Generator[None, None, None]:
    """Make a folder if there is none, and lock it against other processes.

    A new folder is removed at the end if it is empty.

    Raises:
        FileError: another process has locked it, or it is a file.
    """
    new = not folder.exists()
    if not new and not folder.is_dir():
        raise FileError(f"{folder} is not a folder: give another one")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            if _lock(descriptor) is False:
                raise FileError(f"another {command} is at work in {folder}: give another folder")
        try:
            yield
        finally:
            if new:
                with suppress(OSError):
                    folder.rmdir()


# --- drafts ------------------------------------------------------------------------------------


_drafts: set[Path] = set()
"""Drafts that exist now, which are removed at exit. A signal may end the program between the return
of a context manager and the first line of its body, where no ``finally`` applies."""


def _new_draft(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a draft.

    Args:
        path: path of the finished file.
        make: makes the draft under a name and returns its descriptor.

    Returns:
        The name of the draft, and the descriptor, which locks it while it is open.
    """
    while True:
        draft = path.with_name(f".{_name(path)}.{secrets.token_hex(4)}.part")
        _drafts.add(draft)
        try:
            descriptor = make(draft)
            _lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return draft, descriptor
            os.close(descriptor)  # another process removed it before it was locked
        except OSError as error:
            _remove(draft)
            raise cannot_write(path, error) from error
        except BaseException:
            _remove(draft)
            raise


def _new_file(path: Path, public: bool) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666 if public else 0o600)


def _new_folder(path: Path) -> int:
    path.mkdir(0o700)
    return os.open(os.devnull if fcntl is None else path, os.O_RDONLY)


def _name(path: Path) -> str:
    """Return the file's name, cut so that the longer name of its draft is not too long."""
    return os.fsdecode(os.fsencode(path.name)[:200])


def _sync(descriptor: int, path: Path) -> None:
    """Wait until the content is on the disk, so that a power failure leaves no empty file."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # some file systems
            raise cannot_write(path, error) from error


def _publish(draft: Path, path: Path, force: bool) -> None:
    if force:
        draft.replace(path)
        return
    try:
        os.link(draft, path)  # unlike renaming, this replaces nothing
    except FileExistsError as error:
        raise exists(path) from error
    except OSError as error:  # a file system without links
        if path.exists():
            raise exists(path) from error
        draft.replace(path)


def _remove(draft: Path) -> None:
    _unlink(draft)
    _drafts.discard(draft)


def _unlink(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()


@atexit.register
def _remove_drafts() -> None:
    for draft in list(_drafts):
        _remove(draft)


# --- leftovers and locks -----------------------------------------------------------------------


def _remove_leftovers(path: Path) -> None:
    """Remove drafts of the same path whose process was killed. They are not locked."""
    for draft in _drafts_in(path.parent).pop(_name(path), ()):
        with suppress(OSError):
            descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(descriptor) is True:
                    _unlink(draft)
            finally:
                os.close(descriptor)


@cache
def _drafts_in(folder: Path) -> dict[str, list[Path]]:
    """Return the drafts in a folder, by the file's name, as they were at the first call."""
    found: dict[str, list[Path]] = defaultdict(list)
    if fcntl is not None:
        with suppress(OSError):
            for path in folder.glob(".*.????????.part"):
                found[path.name[1:-14]].append(path)
    return found


def _lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed.

    Returns:
        False if another process has locked it, None if locks are not supported.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
