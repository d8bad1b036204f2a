"""Sources of samples for a sender. They are read in a thread of their own."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

BLOCK_S: Final = 0.01
"""Longest piece."""
MAX_WAITING: Final = 50
"""Pieces that are read ahead."""


class Source:
    """Samples of a file, a pipe or a microphone, in pieces of `BLOCK_S` or less.

    Args:
        blocks: blocks ``float32 [samples]`` or ``[channels, samples]`` of any length.
        rate_hz: their sample rate.
        wake: called, in another thread, when a piece or the end is there.
        live: the blocks come from a pipe or a device, which may stall.

    Attributes:
        ended: whether all pieces have been taken.
    """

    def __init__(
        self,
        blocks: Iterator[np.ndarray],
        rate_hz: int,
        wake: Callable[[], None],
        *,
        live: bool,
    ) -> None:
        self.rate_hz, self.live, self.ended = rate_hz, live, False
        self._blocks, self._wake = blocks, wake
        self._stop = threading.Event()
        self._waiting: queue.Queue[np.ndarray | BaseException | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def take(self) -> np.ndarray | None:
        """Return the next piece, or None if there is none yet, or no more.

        Raises:
            Exception: the source cannot be read.
        """
        if self.ended:
            return None
        try:
            piece = self._waiting.get_nowait()
        except queue.Empty:
            return None
        if isinstance(piece, BaseException):
            raise piece
        self.ended = piece is None
        return piece

    @property
    def ready(self) -> bool:
        """Whether `take` returns at once what comes next."""
        return not self._waiting.empty()

    def close(self) -> None:
        """Stop reading, before the file is closed. A pipe or device that stalls is left behind."""
        self._stop.set()
        if not self.live:
            self._thread.join()

    def _read(self) -> None:
        end: BaseException | None = None
        step = max(1, int(BLOCK_S * self.rate_hz))
        try:
            for block in self._blocks:
                for start in range(0, block.shape[-1], step):
                    if not self._put(block[..., start : start + step]):
                        return
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, piece: np.ndarray | BaseException | None) -> bool:
        """Queue a piece; return False if the source is closed."""
        while not self._stop.is_set():
            try:
                self._waiting.put(piece, timeout=0.1)
            except queue.Full:
                continue
            self._wake()
            return True
        return False
