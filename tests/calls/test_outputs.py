"""Outputs of calls."""

import os
import threading

import numpy as np
import pytest

from chirrup.calls.outputs import Output
from chirrup.errors import FileError


def test_a_pipe_that_its_reader_has_closed() -> None:
    """The error states the cause, because a call ends by it."""
    reader, writer = os.pipe()
    os.close(reader)
    woken = threading.Event()
    with open(writer, "wb", buffering=0) as file:
        output = Output(file, raw=True)
        output.wake = woken.set
        output.write(np.zeros(480, np.float32), 24_000)
        assert woken.wait(30)
        with pytest.raises(FileError, match="closed the pipe"):
            output.write(np.zeros(480, np.float32), 24_000)
