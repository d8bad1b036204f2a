"""Reading of recordings as arrays, whole or in blocks, resampling and encoding."""

import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from chirrup.data import parquet, rooms
from chirrup.data.item import Item
from chirrup.errors import FileError
from chirrup.files.callbacks import SoundFile
from chirrup.files.sounds import UnreadableError, blocks, check_rate, open_sound


class BadAudioError(Exception):
    """A recording cannot be used.

    Attributes:
        reason: the reason in one word.
        detail: a description.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@contextmanager
def opened(source: str | Path | BinaryIO) -> Generator[soundfile.SoundFile, None, None]:
    """Open a file of any format that soundfile reads.

    Raises:
        BadAudioError: the file cannot be read, or its end is missing.
    """
    try:
        with open_sound(source) as sound:
            check_rate(sound.file)
            if sound.cut_off:
                raise BadAudioError("damaged", sound.cut_off)
            yield sound.file
    except OSError as error:
        raise BadAudioError("unreadable", error.strerror or str(error)) from error
    except UnreadableError as error:
        raise BadAudioError("unreadable", str(error)) from error


def read(file: soundfile.SoundFile, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return the blocks of `read_blocks` as one array ``float32 [channels, samples]``."""
    nothing = np.zeros((0, file.channels), np.float32)
    return np.ascontiguousarray(np.concatenate([nothing, *read_blocks(file, start, stop)]).T)


def read_blocks(
    file: soundfile.SoundFile, start: int = 0, stop: int | None = None
) -> Iterator[np.ndarray]:
    """Read a file in blocks.

    Args:
        file: the open file.
        start: first sample.
        stop: end in samples. None is the end of the file.

    Yields:
        ``float32 [samples, channels]``.

    Raises:
        BadAudioError: the file is damaged, or shorter than its header states.
    """
    end: int = file.frames if stop is None else stop
    place = start
    try:
        if start:
            file.seek(start)
        for block in blocks(file, end - start):
            if not np.isfinite(block).all():
                raise BadAudioError("damaged", "it has samples that are not finite")
            place += len(block)
            yield block
    except (UnreadableError, soundfile.LibsndfileError) as error:
        raise BadAudioError("damaged", str(error)) from error
    if place < end:
        raise BadAudioError(
            "damaged",
            f"it ends after {place / file.samplerate:.2f} of {file.frames / file.samplerate:.2f} s",
        )


def source_of(item: Item) -> str | BinaryIO:
    """Return the path of a recording, or its content if it is in a Parquet file.

    Raises:
        BadAudioError: the Parquet file cannot be read.
    """
    if item.row < 0:
        return item.path
    try:
        return parquet.audio_of_row(Path(item.path), item.row)
    except (OSError, FileError) as error:
        raise BadAudioError("unreadable", str(error)) from error


def simulated_room(item: Item, simulation: rooms.Simulation) -> np.ndarray:
    """Return a simulated room response ``float32 [1, samples]``."""
    return rooms.shoebox(simulation, int(item.path.removeprefix(rooms.PREFIX)))[0][None]


def resample(audio: np.ndarray, rate_hz: int, new_rate_hz: int) -> np.ndarray:
    """Resample ``float32 [channels, samples]``."""
    if rate_hz == new_rate_hz:
        return audio
    return np.ascontiguousarray(soxr.resample(audio.T, rate_hz, new_rate_hz).T)


def encoded(audio: np.ndarray, rate_hz: int, form: str, bits: int = 16) -> bytes:
    """Encode ``float32 [channels, samples]``.

    Args:
        audio: the samples, which are limited to full scale.
        rate_hz: sample rate.
        form: "flac" or "opus".
        bits: bits of a sample in FLAC.
    """
    memory = io.BytesIO()
    kind, subtype = ("OGG", "OPUS") if form == "opus" else ("FLAC", f"PCM_{bits}")
    shape = {"samplerate": rate_hz, "channels": len(audio)}
    with SoundFile(memory, "w", format=kind, subtype=subtype, **shape) as file:
        file.write(audio.T.clip(-1, 1))
    return memory.getvalue()
