"""Recordings of both ends, which start with the connection."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chirrup.calls import outputs, recorder
from chirrup.files.outputs import Sink, open_sink

RATE_HZ = 8000
WAIT_S = 600


def test_both_files_keep_the_time_of_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender stops while nobody is there, and samples of a device come late by little."""
    now_s = 0.0
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now_s)
    recording = recorder.Recorder(tmp_path, force=False)
    tone = np.full(800, 0.5, np.float32)
    for step in range(100):
        now_s = 0.1 * (step + (step % 3 == 1))
        recording.received(tone, RATE_HZ)
        if not 40 <= step < 70:
            recording.sent(tone, RATE_HZ)
    recording.close()
    sent, received = (soundfile.read(tmp_path / name)[0] for name in recorder.NAMES)
    assert len(received) == 100 * 800
    assert abs(len(sent) - len(received)) <= 1600
    assert np.flatnonzero(sent == 0).tolist() == [*range(40 * 800, len(sent) - 30 * 800)]


def test_a_long_wait_is_written_in_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller of the recorder writes no silence: it is the loop of a call."""
    sizes, now_s = [], [100.0]

    @contextmanager
    def observed(*arguments: Any, **options: Any) -> Generator[Sink, None, None]:
        with open_sink(*arguments, **options) as sink:

            class Observer:
                def write(self, data: np.ndarray) -> None:
                    sizes.append(len(data))
                    sink.write(data)

            yield Observer()

    monkeypatch.setattr(outputs, "open_sink", observed)
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now_s[0])
    recording = recorder.Recorder(tmp_path, force=False)
    tone = np.full(80, 0.5, np.float32)
    recording.sent(tone, RATE_HZ)
    now_s[0] += WAIT_S
    recording.received(np.stack([tone, tone]), RATE_HZ)
    recording.received(np.stack([tone, tone]), RATE_HZ)
    recording.close()
    assert max(sizes) <= 1 << 16
    sent, received = (soundfile.read(tmp_path / name)[0] for name in recorder.NAMES)
    assert np.array_equal(sent, tone)
    before = WAIT_S * RATE_HZ
    assert received.shape == (before + 160, 2)
    assert not received[:before].any()
    assert (received[before:] == 0.5).all()
