"""Outputs of calls."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.calls.outputs import Output
from chirrup.calls.recorder import Recorder
from chirrup.errors import FileError


@pytest.mark.parametrize(
    ("function", "number", "reason"),
    [("open", 30, "Read-only file system"), ("write", 28, "No space left on device")],
)
def test_an_output_that_cannot_be_written_is_refused_before_a_stream_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, reason: str
) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, reason)

    monkeypatch.setattr(os, function, refused)
    with pytest.raises(FileError, match=rf"voice\.wav cannot be written: {reason}"):
        Output(tmp_path / "voice.wav")
    with pytest.raises(FileError, match=rf"sent\.wav cannot be written: {reason}"):
        Recorder(tmp_path, force=False)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_no_samples_write_nothing(tmp_path: Path) -> None:
    """A model that decodes chunks has no audio for a part of a chunk."""
    none = np.zeros(0, np.float32)
    output, recorder = Output(tmp_path / "voice.wav"), Recorder(tmp_path / "talk", force=False)
    output.write(none, 24_000)
    recorder.received(none, 24_000)
    assert not output.started
    output.write(np.full(480, 0.5, np.float32), 24_000)
    output.write(none, 24_000)
    output.close()
    recorder.close()
    assert soundfile.info(tmp_path / "voice.wav").frames == 480
    assert [*(tmp_path / "talk").iterdir()] == []


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
