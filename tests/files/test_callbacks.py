"""Signals and errors in the Python file objects that libsndfile reads and writes."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.files import FileError
from chirrup.files.callbacks import SoundFile, _Kept
from chirrup.files.outputs import open_sink
from chirrup.files.sounds import open_sound, read_samples
from file_samples import noise

RATE = 24_000
FORMATS = ["wav", "flac", "ogg", "opus", "mp3", "aiff"]
AUDIO = noise(RATE)


@pytest.fixture
def stopped_by_a_signal() -> Iterator[None]:
    """As `chirrup.cli.main` has it."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def write(path: Path) -> None:
    with open_sink(path, RATE, 1, len(AUDIO)) as sink:
        for block in np.array_split(AUDIO, 3):
            sink.write(block)


@pytest.fixture
def at_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], list[int]]:
    """Do something in a certain write of libsndfile; the list has the number of each write."""
    plain = _Kept.write

    def arrange(number: int, happen: Callable[[], None]) -> list[int]:
        seen: list[int] = []

        def watched(self: _Kept, data: bytes) -> int:
            seen.append(len(seen))
            if seen[-1] == number:
                self._try(happen, None)
            return plain(self, data)

        monkeypatch.setattr(_Kept, "write", watched)
        return seen

    return arrange


@pytest.mark.usefixtures("stopped_by_a_signal")
@pytest.mark.parametrize("ending", FORMATS)
def test_a_signal_in_any_write_ends_all_and_leaves_nothing(
    tmp_path: Path, at_write: Callable[..., list[int]], ending: str
) -> None:
    path = tmp_path / f"talk.{ending}"
    writes = at_write(-1, lambda: None)
    write(path)
    path.unlink()
    for number in range(len(writes)):
        at_write(number, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit, match="143"):
            write(path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left")])
@pytest.mark.parametrize("ending", FORMATS)
def test_an_error_in_any_write_comes_out(
    tmp_path: Path, at_write: Callable[..., list[int]], ending: str, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    path = tmp_path / f"talk.{ending}"
    writes = at_write(-1, lambda: None)
    write(path)
    path.unlink()
    expected = FileError if isinstance(error, OSError) else error
    for number in range(len(writes)):
        at_write(number, fail)
        with pytest.raises(expected, match="No space left" if expected is FileError else None):  # pyright: ignore
            write(path)
        assert list(tmp_path.iterdir()) == []


class Failing(io.BytesIO):
    """A file that does something in one of its calls."""

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


@pytest.mark.usefixtures("stopped_by_a_signal")
@pytest.mark.parametrize("by", ["signal", "error"])
@pytest.mark.parametrize("ending", FORMATS)
def test_nothing_that_ends_a_read_is_lost(tmp_path: Path, ending: str, by: str) -> None:
    """Of all calls of a file, every fifth."""

    def happen() -> None:
        if by == "error":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)

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
        with pytest.raises(KeyboardInterrupt if by == "error" else SystemExit):
            read(number)
