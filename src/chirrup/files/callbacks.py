"""Python file objects that libsndfile reads and writes.

libsndfile calls a Python file object through cffi. An exception cannot leave such a callback: cffi
prints it and returns 0, and libsndfile continues. A signal is then lost, and the file has holes.
The `SoundFile` of this module raises the exception after the call.
"""

import threading
from _thread import start_new_thread
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
import soundfile

T = TypeVar("T")


class SoundFile(soundfile.SoundFile):
    """A `soundfile.SoundFile` of a Python file object that loses no exception.

    - An exception of the file object is kept. The file object is not called again. The current
      method and all later ones raise the exception.
    - Python runs signal handlers in the main thread. A call from the main thread therefore runs in
      another thread, so that no handler raises within a callback.

    Args:
        file: a seekable binary file, which stays open.
        mode: "r" or "w".
        options: further arguments of `soundfile.SoundFile`.
    """

    def __init__(self, file: BinaryIO, mode: str = "r", **options: Any) -> None:
        self._kept = _Kept(file)
        try:
            self._call(partial(super().__init__, cast(Any, self._kept), mode, **options))
        except BaseException as error:  # of a signal, possibly after the file was opened
            self.__exit__(type(error))
            raise

    def read(self, *arguments: Any, **options: Any) -> np.ndarray:
        return self._call(partial(super().read, *arguments, **options))

    def write(self, data: np.ndarray) -> None:
        self._call(partial(super().write, data))

    def seek(self, frames: int, whence: int = 0) -> int:
        return self._call(partial(super().seek, frames, whence))

    def close(self) -> None:
        if not self.closed:
            self._call(super().close)

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        try:
            self.close()
        except Exception:
            if kind is None:  # otherwise, another exception is already being raised
                raise

    def __del__(self) -> None:
        with suppress(Exception):  # nobody can catch it
            super().close()

    def _call(self, method: Callable[[], T]) -> T:
        try:
            if threading.get_ident() == threading.main_thread().ident:
                result = _elsewhere(method)
            else:
                result = method()
        except Exception:
            self._kept.check()  # an exception of the file object is the cause
            raise
        self._kept.check()
        return result


def _elsewhere(method: Callable[[], T]) -> T:
    """Call a method in another thread, and return or raise only after the call has ended.

    `threading.Thread` has weak references with callbacks, where the exception of a signal handler
    would be lost as well. `start_new_thread` has none.
    """
    future: Future[T] = Future()

    def run() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(method())
            except BaseException as raised:
                future.set_exception(raised)

    try:
        start_new_thread(run, ())
        return future.result()
    except BaseException as raised:  # from the method, or from a signal handler
        error = raised
    while True:
        try:
            if future.cancel() or future.done():
                raise error
            wait([future])
        except BaseException as raised:
            if raised is error:
                raise
            error = raised


class _Kept:
    """A binary file whose methods raise nothing. ``error`` is the first exception."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        return self._try(self.file.read, b"", size)

    def write(self, data: bytes) -> int:
        whole, done = memoryview(data), 0
        while done < len(whole) and (count := self._try(self.file.write, 0, whole[done:])):
            done += count
        return done

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._try(self.file.seek, 0, offset, whence)

    def tell(self) -> int:
        return self._try(self.file.tell, 0)

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def _try(self, method: Callable[..., T], otherwise: T, *arguments: object) -> T:
        if self.error is None:
            try:
                return method(*arguments)
            except BaseException as error:
                self.error = error
        return otherwise
