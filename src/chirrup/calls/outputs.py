"""Outputs of decoded audio: files, pipes and loudspeakers, each written in a separate thread.

A pipe that nobody reads, or a device that stalls, thus does not stop the reception.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Final

import numpy as np

from chirrup.errors import FileError
from chirrup.files.coding import Decoded, written_as
from chirrup.files.names import names_file
from chirrup.files.outputs import Player, Target, audio_format, check_target, open_sink

LIVE_BLOCKS: Final = 25
"""Blocks that wait for a pipe or a device, half a second. Further ones are dropped."""
FILE_BLOCKS: Final = 3000
"""Blocks that wait for a file, a minute."""
PATIENCE_S: Final = 1.0
"""Time at the end in which a pipe or a device may take what still waits."""
DEVICE_AHEAD: Final = 2
"""Blocks that a device is given ahead."""
SILENCE_SAMPLES: Final = 1 << 16
"""Longest block of the silence with which an output starts."""


class Output:
    """An output, which is opened when the first block is written.

    Its methods belong to one thread.

    Args:
        target: path, binary file or player, as for `open_sink`.
        raw: write no header.
        force: overwrite a file that exists.

    Attributes:
        wake: called, in another thread, when a block has been written.
        device: whether the output is a device, whose clock the caller follows.
        written: duration and clipped samples of the written audio.
        dropped: blocks that were dropped, because the output had stalled.

    Raises:
        FileError: the target cannot or must not be written.
    """

    def __init__(
        self,
        target: Target | Player,
        *,
        raw: bool = False,
        force: bool = False,
    ) -> None:
        path = Path(target) if isinstance(target, (str, Path)) else None
        check_target(target, force)
        if path is not None and not raw:
            audio_format(path, False)
        self.device, self.dropped = isinstance(target, Player), 0
        self.written = Decoded(1, 1)
        self.wake: Callable[[], None] = lambda: None
        self._target, self._raw, self._force = target, raw, force
        self._live = path is None or not names_file(path)
        self._waiting: queue.Queue[np.ndarray | bool] = queue.Queue(
            LIVE_BLOCKS if self._live else FILE_BLOCKS
        )
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def started(self) -> bool:
        """Whether audio has been written."""
        return self._thread is not None

    @property
    def hungry(self) -> bool:
        """Whether the output has few blocks ahead."""
        return self._waiting.qsize() < DEVICE_AHEAD

    def start(self, rate_hz: int, channels: int, silence_samples: int = 0) -> None:
        """Start the thread, which opens the output and writes silence of any duration.

        `write` calls this for an output that needs no silence.
        """
        written = self.written
        written.sample_rate_hz, written.channels = rate_hz, channels
        written.samples = silence_samples
        self._thread = threading.Thread(target=self._run, args=(silence_samples,), daemon=True)
        self._thread.start()

    def write(self, audio: np.ndarray, rate_hz: int) -> None:
        """Write a block; drop it if the output has stalled.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]``.
            rate_hz: sample rate, which must not change.

        Raises:
            Exception: the output cannot be opened or written.
        """
        if self._error is not None:
            raise self._error
        block = audio.reshape(-1, audio.shape[-1])
        if self._thread is None:
            self.start(rate_hz, len(block))
        self.written.samples += block.shape[1]
        try:
            self._waiting.put_nowait(written_as(block, self.device, self.written))
        except queue.Full:
            self.dropped += 1

    def close(self, *, keep: bool = True) -> None:
        """Complete the output, or remove it. A pipe or device that has stalled is left behind.

        Raises:
            Exception: the output cannot be written.
        """
        thread, asked = self._thread, False
        if thread is None:
            return
        while thread.is_alive():
            if not asked:
                with suppress(queue.Full):
                    self._waiting.put(keep, timeout=PATIENCE_S)
                    asked = True
            thread.join(PATIENCE_S)
            if self._live:
                break
        if thread.is_alive():
            self.dropped += self._waiting.qsize() - asked
        elif self._error is not None and keep:
            raise self._error

    def _run(self, silence_samples: int) -> None:
        written = self.written
        try:
            with ExitStack() as stack:
                if self.device and isinstance(self._target, AbstractContextManager):
                    stack.enter_context(self._target)
                opening = open_sink(
                    self._target,
                    written.sample_rate_hz,
                    written.channels,
                    None,
                    floating=self.device,
                    raw=self._raw,
                    force=self._force,
                )
                sink = stack.enter_context(opening)
                silence = np.zeros((SILENCE_SAMPLES, written.channels), np.float32)
                for start in range(0, silence_samples, SILENCE_SAMPLES):
                    part = silence[: silence_samples - start]
                    sink.write(part if self.device else part.astype(np.int16))
                while not isinstance(block := self._waiting.get(), bool):
                    sink.write(block)
                    self.wake()
                if not block:
                    raise _NotKeptError
        except _NotKeptError:
            pass
        except BrokenPipeError:
            self._error = FileError(
                "the program that reads the output has closed the pipe: start it again, or give a "
                "file"
            )
            self.wake()
        except BaseException as error:
            self._error = error
            self.wake()


class _NotKeptError(Exception):
    """The output is to be removed."""
