"""Audio in: any file that soundfile reads, a WAV file or raw samples from a pipe.

Everything comes block by block, ``float32 [channels, samples]``, in constant memory.
"""

import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import numpy as np
import soundfile

from chirrup.bitstream import FormatError, Reader
from chirrup.files.errors import FileError
from chirrup.files.wav import SAMPLE_TYPES, Format, NotPlainWavError, read_wav_head

BLOCK_SAMPLES = 1 << 15
RATES_HZ = (1_000, 1_000_000)
"""Lowest and highest sample rate that is taken in and given back."""
MAX_CHANNELS = 16


class Readable(Protocol):
    """A blocking binary file or pipe."""

    def read(self, size: int, /) -> bytes: ...


Source = str | Path | Readable


@dataclass
class Audio:
    """An open source of audio.

    Attributes:
        sample_rate_hz, channels: of the source.
        samples: for each channel; None where only the end will tell.
        blocks: ``float32 [channels, samples]``, one after the other.
    """

    sample_rate_hz: int
    channels: int
    samples: int | None
    blocks: Iterator[np.ndarray]


def parse_raw(text: str) -> Format:
    """The format of samples without a header, as ``s16@24000x1``: type, rate in Hz, channels.

    Types are s16 (16-bit integers) and f32 (floating point), little endian. ``x1`` may be left out.
    """
    match = re.fullmatch(r"(s16|f32)(?:le)?@(\d{1,7})(?:x(\d{1,2}))?", text)
    if not match:
        raise FileError(
            f"raw format {text!r} is not TYPE@RATExCHANNELS with type s16 or f32: "
            "for example s16@24000x1"
        )
    kind, rate, channels = match.groups()
    return Format(kind, int(rate), int(channels or 1))


@contextmanager
def open_audio(source: Source, raw: str | None = None) -> Generator[Audio, None, None]:
    """Open a source of audio.

    A pipe is read as it comes if it gives WAV (PCM or floating point) or if ``raw`` tells what it
    gives. Of any other format the whole is first kept in a temporary file.

    Args:
        source: a path, or a binary file object, which needs no seeking and stays open.
        raw: see `parse_raw`; the source then has no header.

    Raises:
        FileError: not to be read, no audio, or of a rate or channel count that nothing takes.
    """
    name = source_name(source)
    with open_source(source) as file:
        if raw is not None:
            yield _checked(_from_samples(file, parse_raw(raw), None), name)
        elif file is not None and not _is_file(source):
            with _from_pipe(file, name) as audio:
                yield _checked(audio, name)
        else:
            with _from_soundfile(Path(str(source)), name) as audio:
                yield _checked(audio, name)


@contextmanager
def open_source(source: Source) -> Generator[Readable, None, None]:
    """The binary file of a source, closed afterwards if it was given as a path."""
    if not isinstance(source, (str, Path)):
        yield source
        return
    path = Path(source)
    if path.is_dir():
        raise FileError(f"{path} is a folder: give one file")
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def open_reader(file: Readable, source: Source) -> Reader:
    """The reader of a ``.chirrup`` file; its FormatError tells the file's name."""
    try:
        return Reader(file)
    except FormatError as error:
        raise FormatError(f"{source_name(source)}: {error.args[0]}", error.offset) from error


def source_name(source: Source) -> str:
    """What to call a source in a message."""
    return str(source) if isinstance(source, (str, Path)) else "standard input"


def _is_file(source: Source) -> bool:
    return isinstance(source, (str, Path)) and Path(source).is_file()


def _checked(audio: Audio, name: str) -> Audio:
    """The same audio, whose blocks stop with an error at a sample that is no number."""
    low, high = RATES_HZ
    if not low <= audio.sample_rate_hz <= high:
        raise FileError(
            f"{name} has a sample rate of {audio.sample_rate_hz} Hz: only {low} to {high} Hz work"
        )
    if not 1 <= audio.channels <= MAX_CHANNELS:
        raise FileError(f"{name} has {audio.channels} channels: only 1 to {MAX_CHANNELS} work")

    def blocks() -> Iterator[np.ndarray]:
        done = 0
        for block in audio.blocks:
            if not np.isfinite(block).all():
                bad = done + int(np.argmin(np.isfinite(block).all(axis=0)))
                raise FileError(
                    f"{name} has a sample that is no finite number at "
                    f"{bad / audio.sample_rate_hz:.3f} s: repair it first"
                )
            done += block.shape[1]
            yield block

    return Audio(audio.sample_rate_hz, audio.channels, audio.samples, blocks())


# --- files -------------------------------------------------------------------------------------


@contextmanager
def _from_soundfile(path: Path, name: str) -> Generator[Audio, None, None]:
    try:
        file = soundfile.SoundFile(os.fsencode(path))  # pyright: ignore[reportArgumentType]
    except TypeError as error:  # soundfile wants the format of a .raw file
        raise FileError(
            f"{name} has no header: say what it holds, for example --raw s16@24000x1"
        ) from error
    except soundfile.LibsndfileError as error:
        raise FileError(f"{name} is no audio that can be read: {error.error_string}") from error
    with file:
        samples = file.frames if file.frames < 2**62 else None
        yield Audio(file.samplerate, file.channels, samples, _blocks(file, name))


def _blocks(file: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    while True:
        try:
            block = file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise FileError(f"{name} is damaged: {error.error_string}") from error
        if len(block) == 0:
            return
        yield np.ascontiguousarray(block.T)


# --- pipes -------------------------------------------------------------------------------------


@contextmanager
def _from_pipe(file: Readable, name: str) -> Generator[Audio, None, None]:
    seen = bytearray()
    try:
        head = read_wav_head(file, seen)
    except NotPlainWavError:
        with _spooled(file, seen) as path, _from_soundfile(path, name) as audio:
            yield audio
    else:
        yield _from_samples(file, head.format, head.data_bytes)


@contextmanager
def _spooled(file: Readable, seen: bytes | bytearray) -> Generator[Path, None, None]:
    """A temporary file with all that a pipe gave."""
    with tempfile.NamedTemporaryFile(prefix="chirrup-") as copy:
        _copy(file, seen, copy)
        yield Path(copy.name)


def _copy(file: Readable, seen: bytes | bytearray, copy: IO[bytes] | BinaryIO) -> None:
    copy.write(seen)
    while data := file.read(1 << 16):
        copy.write(data)
    copy.flush()


def _from_samples(file: Readable, form: Format, data_bytes: int | None) -> Audio:
    """Samples without a header, or after it; they end after ``data_bytes``, None: with the file."""
    samples = None if data_bytes is None else data_bytes // form.frame_bytes
    return Audio(form.sample_rate_hz, form.channels, samples, _pieces(file, form, samples))


def _pieces(file: Readable, form: Format, samples: int | None) -> Iterator[np.ndarray]:
    _, convert = SAMPLE_TYPES[form.kind]
    # read1 gives what is there: a live pipe is not held up.
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    left = None if samples is None else samples * form.frame_bytes
    waiting = b""
    while left is None or left > 0:
        want = BLOCK_SAMPLES * form.frame_bytes
        data = read(want if left is None else min(want, left))
        if not data:
            return
        left = None if left is None else left - len(data)
        waiting += data
        whole = len(waiting) // form.frame_bytes * form.frame_bytes
        if whole:
            yield convert(waiting[:whole]).reshape(-1, form.channels).T.copy()
            waiting = waiting[whole:]
