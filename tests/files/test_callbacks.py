"""Signals and errors in the Python file objects that libsndfile reads and writes."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chirrup.files import FileError
from chirrup.files.callbacks import SoundFile, _Kept
from chirrup.files.outputs import open_sink
from chirrup.files.sounds import open_sound, read_samples, read_sound
from file_samples import noise

RATE = 24_000
FORMATS = ["wav", "flac", "ogg", "opus", "mp3", "aiff"]
AUDIO = noise(RATE)


@pytest.fixture
def stopped_by_a_signal() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, as `chirrup.cli.main` does."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def write(path: Path) -> None:
    with open_sink(path, RATE, 1, len(AUDIO)) as sink:
        for block in np.array_split(AUDIO, 3):
            sink.write(block)


Arrange = Callable[[str, int, Callable[[_Kept], object]], list[int]]


@pytest.fixture
def at_call(monkeypatch: pytest.MonkeyPatch) -> Arrange:
    """Run an action in a certain call of "read" or "write" by libsndfile.

    Return a list of the numbers of the calls.
    """
    methods = {"read": _Kept.read, "write": _Kept.write}

    def arrange(name: str, number: int, happen: Callable[[_Kept], object]) -> list[int]:
        seen: list[int] = []

        def watched(self: _Kept, argument: Any) -> Any:
            seen.append(len(seen))
            if seen[-1] == number:
                happen(self)
            return methods[name](self, argument)

        monkeypatch.setattr(_Kept, name, watched)
        return seen

    return arrange


def send(_: object) -> None:
    """Send SIGTERM in the callback, but outside of the file object's methods."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("stopped_by_a_signal")
@pytest.mark.parametrize("ending", FORMATS)
def test_a_signal_in_any_write_ends_all_and_leaves_nothing(
    tmp_path: Path, at_call: Arrange, ending: str
) -> None:
    path = tmp_path / f"talk.{ending}"
    writes = at_call("write", -1, send)
    write(path)
    path.unlink()
    for number in range(len(writes)):
        at_call("write", number, send)
        with pytest.raises(SystemExit, match="143"):
            write(path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("stopped_by_a_signal")
@pytest.mark.parametrize("ending", FORMATS)
def test_a_signal_in_any_read_ends_all(tmp_path: Path, at_call: Arrange, ending: str) -> None:
    write(tmp_path / f"talk.{ending}")
    file = io.BytesIO((tmp_path / f"talk.{ending}").read_bytes())
    reads = at_call("read", -1, send)
    read_sound(file)
    for number in range(len(reads)):
        at_call("read", number, send)
        with pytest.raises(SystemExit, match="143"):
            read_sound(file)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
@pytest.mark.parametrize("ending", FORMATS)
def test_an_error_in_any_write_comes_out(
    tmp_path: Path, at_call: Arrange, ending: str, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error(28, "No space left")

    path = tmp_path / f"talk.{ending}"
    writes = at_call("write", -1, send)
    write(path)
    path.unlink()
    expected = FileError if error is OSError else error
    for number in range(len(writes)):
        at_call("write", number, lambda kept: kept._try(fail, None))
        with pytest.raises(expected, match="No space left"):
            write(path)
        assert list(tmp_path.iterdir()) == []


class Failing(io.BytesIO):
    """A file that runs an action in one of its calls."""

    def __init__(self, data: bytes, number: int, happen: Callable[[], None]) -> None:
        super().__init__(data)
        self.calls, self.number, self.happen = 0, number, happen

    def _count(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.number:
            self.happen()

    def read(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._count()
        return super().seek(offset, whence)

    def tell(self) -> int:
        self._count()
        return super().tell()


def test_formats_are_written_as_by_soundfile(tmp_path: Path) -> None:
    for ending, kind, subtype in (("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16")):
        write(tmp_path / f"ours.{ending}")
        memory = io.BytesIO()
        soundfile.write(memory, AUDIO, RATE, format=kind, subtype=subtype)
        assert (tmp_path / f"ours.{ending}").read_bytes() == memory.getvalue()


@pytest.mark.parametrize("ending", FORMATS)
def test_an_error_in_a_file_that_is_read_comes_out(tmp_path: Path, ending: str) -> None:
    """The action runs in every fifth call."""

    def happen() -> None:
        raise KeyboardInterrupt

    def read(number: int) -> int:
        file = Failing(data, number, happen)
        with open_sound(file) as sound:
            assert isinstance(sound.file, SoundFile)
            assert len(read_samples(sound.file)) >= len(AUDIO)
        return file.calls

    write(tmp_path / f"talk.{ending}")
    data = (tmp_path / f"talk.{ending}").read_bytes()
    calls = read(-1)
    assert calls > 10
    for number in range(0, calls, 5):
        with pytest.raises(KeyboardInterrupt):
            read(number)
