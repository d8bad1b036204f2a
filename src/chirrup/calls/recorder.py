"""Recording of both ends of a connection."""

import time
from pathlib import Path
from typing import Final

import numpy as np

from chirrup.calls.outputs import Output
from chirrup.errors import FileError

NAMES: Final = ("sent.wav", "received.wav")
GAP_S: Final = 0.5
"""Shortest gap that is recorded. Samples may come later by less."""


class Recorder:
    """Two files: the samples that were offered to the sender, and the audio that was played.

    Both begin with the connection, and have silence where nothing was sent or played, so that they
    can be played together.

    Args:
        folder: their folder, which is made if it does not exist.
        force: overwrite files that exist.

    Raises:
        FileError: the files cannot or must not be written.
    """

    def __init__(self, folder: Path, *, force: bool) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"the folder {folder} cannot be made: {error.strerror}") from error
        self._sent, self._received = (Output(folder / name, force=force) for name in NAMES)
        self._start_s = time.monotonic()

    def sent(self, samples: np.ndarray, rate_hz: int) -> None:
        """Record a piece of the source."""
        self._write(self._sent, samples, rate_hz)

    def received(self, audio: np.ndarray, rate_hz: int) -> None:
        """Record a tick of the output."""
        self._write(self._received, audio, rate_hz)

    def _write(self, output: Output, audio: np.ndarray, rate_hz: int) -> None:
        late = round((time.monotonic() - self._start_s) * rate_hz) - output.written.samples
        gap = late > GAP_S * rate_hz or not output.started
        output.write(audio, rate_hz, late if gap else 0)

    def close(self) -> None:
        """Complete the files."""
        try:
            self._sent.close()
        finally:
            self._received.close()
