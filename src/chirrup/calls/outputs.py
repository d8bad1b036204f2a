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
"""Longest block of silence."""


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
        self._waiting: queue.Queue[tuple[int, np.ndarray] | None] = queue.Queue(
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

    def write(self, audio: np.ndarray, rate_hz: int, silence_samples: int = 0) -> None:
        """Write a block, or drop it if the output has stalled.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]``.
            rate_hz: sample rate, which must not change.
            silence_samples: silence before the block, of any duration.

        Raises:
            Exception: the output cannot be opened or written.
        """
        if self._error is not None:
            raise self._error
        if not audio.size:  # a part of a chunk has no audio yet
            return
        block = audio.reshape(-1, audio.shape[-1])
        if self._thread is None:
            self.written.sample_rate_hz, self.written.channels = rate_hz, len(block)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self.written.samples += silence_samples + block.shape[1]
        try:
            data = written_as(block, self.device, self.written)
            self._waiting.put_nowait((silence_samples, data))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Complete the output. A pipe or device that has stalled is left behind.

        Raises:
            Exception: the output cannot be written.
        """
        thread, asked = self._thread, False
        if thread is None:
            return
        while thread.is_alive():
            if not asked:
                with suppress(queue.Full):
                    self._waiting.put(None, timeout=PATIENCE_S)
                    asked = True
            thread.join(PATIENCE_S)
            if self._live:
                break
        if thread.is_alive():
            self.dropped += self._waiting.qsize() - asked
        elif self._error is not None:
            raise self._error

    def _run(self) -> None:
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
                while (waiting := self._waiting.get()) is not None:
                    silence_samples, block = waiting
                    for start in range(0, silence_samples, SILENCE_SAMPLES):
                        samples = min(SILENCE_SAMPLES, silence_samples - start)
                        sink.write(np.zeros((samples, written.channels), block.dtype))
                    sink.write(block)
                    self.wake()
        except BrokenPipeError:
            self._error = FileError(
                "the program that reads the output has closed the pipe: start it again, or give a "
                "file"
            )
            self.wake()
        except BaseException as error:
            self._error = error
            self.wake()
