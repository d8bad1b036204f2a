"""Checks of outputs, and writing of audio block by block."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import soundfile

from chirrup.errors import FileError
from chirrup.files.callbacks import SoundFile
from chirrup.files.drafts import cannot_write, check_writable, exists, open_draft
from chirrup.files.names import descriptor_of, is_coded, names_file
from chirrup.files.naming import AUDIO_ENDINGS, CODED_ENDING
from chirrup.files.tags import write_tags
from chirrup.files.wav import Format, wav_header
from chirrup.words import counted

_ALIASES = {"AIF": "AIFF", "AIFC": "AIFF", "WAVE": "WAV", "OGA": "OGG", "SND": "AU"}
_HEADERLESS = {"RAW", "SD2"}
_LARGEST_WAV = 2**32 - 2**12


class Writable(Protocol):
    """A binary file or pipe."""

    def write(self, data: bytes, /) -> int | None: ...


Target = str | Path | Writable


class Sink(Protocol):
    """An output for decoded audio, ``int16`` or ``float32 [samples, channels]``."""

    def write(self, data: np.ndarray, /) -> None: ...


@runtime_checkable
class Player(Protocol):
    """An output device, which is opened when the sample rate and the channels are known."""

    def start(self, rate_hz: int, channels: int) -> Sink: ...


# --- files -------------------------------------------------------------------------------------


def check_target(
    target: Target | Player, force: bool, source: object = None, *, coded: bool = False
) -> None:
    """Raise FileError if a target cannot or must not be written.

    Args:
        target: the output.
        force: allow an existing file to be overwritten.
        source: path of the input, which must exist and not be overwritten.
        coded: the output is a ``.chirrup`` file.
    """
    if not isinstance(target, (str, Path)):
        return
    path = Path(target)
    there = Path(source) if isinstance(source, (str, Path)) else None
    if there and descriptor_of(there) is None:
        check_source(there)
    if path.is_dir():
        raise FileError(f"{path} is a folder: give a file in it")
    if not path.parent.is_dir():
        raise FileError(f"the folder {path.parent} does not exist: make it first")
    if there and there.exists() and path.exists() and path.samefile(there):
        raise FileError(f"{path} is both input and output: give another output")
    if not names_file(path):
        return
    if coded:
        _check_coded(path, force)
    elif path.exists() and not force:
        raise exists(path)
    check_writable(path)


def check_source(path: Path) -> None:
    """Raise FileError if an input does not exist. The error of reading it states other faults."""
    try:
        path.stat()
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist") from error
    except OSError:
        pass


def _check_coded(path: Path, force: bool) -> None:
    """Raise FileError if a ``.chirrup`` file must not be written to a path.

    A recording is never overwritten, also with ``force``: in ``encode *.wav`` with two files, the
    second one is the output.
    """
    if path.suffix.lower() in AUDIO_ENDINGS:
        raise FileError(
            f"{path} has the ending of audio, but encode writes .chirrup files: give for example "
            f"{path.with_suffix(CODED_ENDING)}"
        )
    if not path.exists():
        return
    if not is_coded(path) and not (force and path.stat().st_size == 0):
        raise FileError(f"{path} exists and is not a .chirrup file: give another output")
    if not force:
        raise exists(path)


@contextmanager
def open_target(target: Target, force: bool) -> Generator[Writable, None, None]:
    """Open a binary file for writing; see `open_draft`. A file object or descriptor stays open."""
    if not isinstance(target, (str, Path)):
        yield target
        return
    path = Path(target)
    if (descriptor := descriptor_of(path)) is not None:
        try:
            copy = os.dup(descriptor)
        except OSError as error:
            raise cannot_write(path, error) from error
        with open(copy, "wb", buffering=0) as file:
            yield _Named(file, path)
        return
    with open_draft(path, force) as draft:
        try:
            file = draft.open("wb", buffering=0)
        except OSError as error:
            raise cannot_write(path, error) from error
        with file:
            yield _Named(file, path)


# --- audio -------------------------------------------------------------------------------------


@contextmanager
def open_sink(
    target: Target | Player,
    rate_hz: int,
    channels: int,
    samples: int | None,
    *,
    floating: bool = False,
    raw: bool = False,
    force: bool = True,
    metadata: Mapping[str, str] | None = None,
    notes: list[str] | None = None,
) -> Generator[Sink, None, None]:
    """Open an output for audio.

    Args:
        target: path, whose ending selects the format. A binary file object, or the path of a pipe
            or device, gets WAV. A player gets the samples.
        rate_hz: sample rate.
        channels: number of channels.
        samples: samples of each channel, or None if not known. Only pipes and WAV files over 4 GB
            need it.
        floating: write floating-point samples instead of 16 bits.
        raw: write no header.
        force: overwrite a file that exists at the end.
        metadata: metadata, of which the tags are written to a file.
        notes: a list to which a note is added if the format cannot hold some tags.
    """
    if isinstance(target, Player):
        yield target.start(rate_hz, channels)
        return
    form = Format("f32" if floating else "s16", rate_hz, channels)
    if raw or not isinstance(target, (str, Path)) or not names_file(Path(target)):
        with open_target(target, force) as file:
            yield _Stream(file, b"" if raw else wav_header(form, samples))
        return
    path = Path(target)
    kind, subtype = audio_format(path, floating)
    if kind == "WAV" and (samples or 0) * form.frame_bytes > _LARGEST_WAV:
        kind = "RF64"
    with open_draft(path, force) as draft:
        with draft.open("wb", buffering=0) as bare:
            options = {"samplerate": rate_hz, "channels": channels}
            with _writing(path):
                try:
                    file = SoundFile(bare, "w", format=kind, subtype=subtype, **options)
                except soundfile.LibsndfileError as error:
                    raise FileError(
                        f"{kind} cannot hold {counted(channels, 'channel')} at {rate_hz} Hz "
                        f"({error.error_string.rstrip('.')}): choose another format or --rate"
                    ) from error
            with file:
                left_out = write_tags(file, metadata or {})
                if notes is not None:
                    notes += left_out
                yield _Sound(file, path)
                with _writing(path):
                    file.close()
        if draft.stat().st_size == 0:
            raise FileError(f"{kind} cannot hold audio without samples: use .wav")


def audio_format(path: Path, floating: bool) -> tuple[str, str]:
    """Return soundfile's format and subtype for a file name; raise FileError if it has none."""
    kind = path.suffix[1:].upper()
    kind = _ALIASES.get(kind, kind)
    if not names_file(path):
        if kind != "WAV" and (kind == "OPUS" or kind in soundfile.available_formats()):
            raise FileError(f"{path} is a pipe or device, which gets WAV: give it another ending")
        kind = "WAV"
    if kind == "OPUS":
        return "OGG", "OPUS"
    if kind not in soundfile.available_formats() or kind in _HEADERLESS:
        raise FileError(
            f"the ending of {path.name} is not of a known audio format: use .wav, .flac, .ogg, "
            ".mp3 or .aiff"
        )
    if floating:
        if not soundfile.check_format(kind, "FLOAT"):
            raise FileError(f"{kind} has no floating point samples: use .wav, or leave out --float")
        return kind, "FLOAT"
    if soundfile.check_format(kind, "PCM_16"):
        return kind, "PCM_16"
    return kind, soundfile.default_subtype(kind) or ""


class Counted:
    """A binary file that counts the bytes written."""

    def __init__(self, file: Writable) -> None:
        self.file, self.size = file, 0

    def write(self, data: bytes) -> int:
        written = self.file.write(data)
        written = len(data) if written is None else written
        self.size += written
        return written

    def flush(self) -> None:
        getattr(self.file, "flush", lambda: None)()


class _Named:
    """A binary file whose errors state its path."""

    def __init__(self, file: Writable, path: Path) -> None:
        self.file, self.path = file, path

    def write(self, data: bytes) -> int | None:
        with _writing(self.path):
            return self.file.write(data)


class _Sound:
    """An audio file whose errors state its path."""

    def __init__(self, file: SoundFile, path: Path) -> None:
        self.file, self.path = file, path

    def write(self, data: np.ndarray) -> None:
        with _writing(self.path):
            self.file.write(data)


@contextmanager
def _writing(path: Path) -> Generator[None, None, None]:
    """Raise a FileError for each error of writing, except BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error
    except (soundfile.LibsndfileError, AssertionError) as error:  # a short write asserts
        raise FileError(f"{path} cannot be written: {error}") from error


class _Stream:
    """An output of WAV or raw samples to a binary file."""

    def __init__(self, file: Writable | BinaryIO, header: bytes) -> None:
        self.file = file
        self._put(header)

    def write(self, data: np.ndarray) -> None:
        self._put(data.astype(data.dtype.newbyteorder("<")).tobytes())

    def _put(self, data: bytes) -> None:
        while data:
            written = self.file.write(data)
            data = data[len(data) if written is None else written :]
        getattr(self.file, "flush", lambda: None)()
