"""Recordings as arrays: opened, read in pieces or whole, and encoded anew."""

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from chirrup.data import parquet, rooms
from chirrup.data.item import Item
from chirrup.files.errors import FileError


class BadAudioError(Exception):
    """Why a recording cannot be used: a reason in a word, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@contextmanager
def opened(source: str | Path | BinaryIO) -> Generator[soundfile.SoundFile, None, None]:
    """Any format soundfile reads.

    Raises:
        BadAudioError: not to be read.
    """
    place: str | bytes | BinaryIO
    try:
        if isinstance(source, (str, Path)):
            with Path(source).open("rb"):
                pass  # libsndfile calls what is not allowed, or not there, a system error
            place = str(source) if sys.platform == "win32" else os.fsencode(source)
        else:
            place = source
        file = soundfile.SoundFile(place)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        raise BadAudioError("unreadable", error.strerror or str(error)) from error
    except soundfile.LibsndfileError as error:
        raise BadAudioError("unreadable", error.error_string.rstrip(".")) from error
    except TypeError as error:  # soundfile asks for the rate of what has no header
        raise BadAudioError("unreadable", "no audio format that is known") from error
    with file:
        yield file


def read(file: soundfile.SoundFile, start: int = 0, stop: int | None = None) -> np.ndarray:
    """``float32 [channels, samples]``.

    Raises:
        BadAudioError: damaged, or shorter than its header says.
    """
    end: int = file.frames if stop is None else stop
    try:
        if start:
            file.seek(start)
        audio = file.read(end - start, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadAudioError("damaged", error.error_string.rstrip(".")) from error
    if len(audio) < end - start:
        seconds = (start + len(audio)) / file.samplerate
        raise BadAudioError(
            "damaged", f"ends after {seconds:.2f} of {file.frames / file.samplerate:.2f} s"
        )
    if not np.isfinite(audio).all():
        raise BadAudioError("damaged", "samples that are not finite")
    return np.ascontiguousarray(audio.T)


def source_of(item: Item) -> str | BinaryIO:
    """What `opened` takes.

    Raises:
        BadAudioError: it is in a Parquet file that cannot be read.
    """
    if item.row < 0:
        return item.path
    try:
        return parquet.audio_of_row(Path(item.path), item.row)
    except (OSError, FileError) as error:
        raise BadAudioError("unreadable", str(error)) from error


def simulated_room(item: Item, simulation: rooms.Simulation) -> np.ndarray:
    """``float32 [1, samples]``."""
    return rooms.shoebox(simulation, int(item.path.removeprefix(rooms.PREFIX)))[0][None]


def resampled(audio: np.ndarray, rate_hz: int, new_rate_hz: int) -> np.ndarray:
    """``float32 [channels, samples]`` at another rate."""
    if rate_hz == new_rate_hz:
        return audio
    return np.ascontiguousarray(soxr.resample(audio.T, rate_hz, new_rate_hz).T)


def encoded(audio: np.ndarray, rate_hz: int, form: str, bits: int = 16) -> bytes:
    """``flac`` of so many bits, or ``opus``, of ``float32 [channels, samples]``."""
    file = io.BytesIO()
    if form == "opus":
        soundfile.write(file, audio.T.clip(-1, 1), rate_hz, format="OGG", subtype="OPUS")
    else:
        soundfile.write(file, audio.T.clip(-1, 1), rate_hz, format="FLAC", subtype=f"PCM_{bits}")
    return file.getvalue()
