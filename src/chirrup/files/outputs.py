"""Output: files that appear whole or not at all, and audio written block by block."""

import atexit
import io
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
import soundfile

from chirrup.files.errors import FileError
from chirrup.files.wav import Format, wav_head

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ALIASES = {"AIF": "AIFF", "AIFC": "AIFF", "WAVE": "WAV", "OGA": "OGG", "SND": "AU"}
_HEADERLESS = {"RAW", "SD2"}
_LARGEST_WAV = 2**32 - 2**12


class Writable(Protocol):
    """A binary file or pipe."""

    def write(self, data: bytes, /) -> int | None: ...


Target = str | Path | Writable


class Sink(Protocol):
    """Where decoded audio goes: ``int16`` or ``float32 [samples, channels]``."""

    def write(self, data: np.ndarray, /) -> None: ...


# --- files -------------------------------------------------------------------------------------


def check_target(target: Target, force: bool, source: object = None) -> None:
    """FileError if nothing can or should be written there."""
    if not isinstance(target, (str, Path)):
        return
    path = Path(target)
    if path.is_dir():
        raise FileError(f"{path} is a folder: give a file in it")
    if not path.parent.is_dir():
        raise FileError(f"the folder {path.parent} does not exist: make it first")
    there = Path(source) if isinstance(source, (str, Path)) else None
    if there and there.exists() and path.exists() and path.samefile(there):
        raise FileError(f"{path} is both input and output: give another output")
    if path.is_file() and not force:
        raise FileError(f"{path} exists: use --force (-f) to overwrite it")


@contextmanager
def open_draft(path: Path) -> Generator[Path, None, None]:
    """An empty file beside ``path`` that takes its place at the end, or disappears on an error.

    What is no regular file, such as a device or a named pipe, is written to directly.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    name = os.fsdecode(os.fsencode(path.name)[:200])
    draft = path.with_name(f".{name}.{secrets.token_hex(4)}.part")
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    access = 0o666 if mode is None else 0o600
    _drafts.add(draft)
    try:
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, access))
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from error
        yield draft
        if mode is not None:
            draft.chmod(mode)
        draft.replace(path)
    finally:
        _remove(draft)


_drafts: set[Path] = set()
"""Those there are now. A signal may end the program where no ``finally`` is in force yet: between
the return of a context manager and the first line within."""


def _remove(draft: Path) -> None:
    with suppress(OSError):
        draft.unlink(missing_ok=True)
    _drafts.discard(draft)


@atexit.register
def _remove_drafts() -> None:
    for draft in list(_drafts):
        _remove(draft)


@contextmanager
def open_target(target: Target) -> Generator[Writable, None, None]:
    """A binary file to write; see `open_draft`. A file object stays open."""
    if not isinstance(target, (str, Path)):
        yield target
        return
    with open_draft(Path(target)) as draft, draft.open("wb", buffering=0) as file:
        yield _Named(file, Path(target))


# --- audio -------------------------------------------------------------------------------------


@contextmanager
def open_sink(
    target: Target, rate_hz: int, channels: int, samples: int | None, floating: bool, raw: bool
) -> Generator[Sink, None, None]:
    """Somewhere to write audio.

    Args:
        target: a path, whose ending says the format; or a binary file object, which gets WAV.
        samples: for each channel, None if not known. Only pipes and WAV over 4 GB need it.
        floating: floating point in place of 16-bit samples.
        raw: no header.
    """
    form = Format("f32" if floating else "s16", rate_hz, channels)
    if raw or not isinstance(target, (str, Path)) or Path(target).is_fifo():
        with open_target(target) as file:
            yield _Stream(file, b"" if raw else wav_head(form, samples))
        return
    kind, subtype = audio_format(Path(target), floating)
    if kind == "WAV" and (samples or 0) * form.frame_bytes > _LARGEST_WAV:
        kind = "RF64"
    with open_draft(Path(target)) as draft:
        with _File(draft, "w") as bare:
            try:
                file = soundfile.SoundFile(
                    bare, "w", rate_hz, channels, subtype=subtype, format=kind
                )
            except soundfile.LibsndfileError as error:
                raise FileError(
                    f"{kind} cannot hold {channels} channels at {rate_hz} Hz "
                    f"({error.error_string.rstrip('.')}): choose another format or --rate"
                ) from error
            sink = _SoundFile(file, bare, Path(target))
            with file:
                yield sink
            sink.check()
        if draft.is_file() and draft.stat().st_size == 0:
            raise FileError(f"{kind} cannot hold audio of no samples: use .wav")


def audio_format(path: Path, floating: bool) -> tuple[str, str]:
    """Soundfile's format and subtype for a file name; FileError if there is none."""
    kind = path.suffix[1:].upper()
    kind = _ALIASES.get(kind, kind)
    if not path.is_file() and path.exists():  # a device
        kind = "WAV"
    if kind == "OPUS":
        return "OGG", "OPUS"
    if kind not in soundfile.available_formats() or kind in _HEADERLESS:
        raise FileError(
            f"no audio format is known by the ending of {path.name}: use .wav, .flac, .ogg, .mp3 "
            "or .aiff, or --raw for none"
        )
    if floating:
        if not soundfile.check_format(kind, "FLOAT"):
            raise FileError(f"{kind} has no floating point samples: use .wav, or leave out --float")
        return kind, "FLOAT"
    if soundfile.check_format(kind, "PCM_16"):
        return kind, "PCM_16"
    return kind, soundfile.default_subtype(kind) or ""


class _Named:
    """A file whose errors name it; ``path`` is what to call it."""

    def __init__(self, file: Writable, path: Path) -> None:
        self.file, self.path = file, path

    def write(self, data: bytes) -> int | None:
        try:
            return self.file.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise FileError(f"{self.path} cannot be written: {error.strerror}") from error


class _Stream:
    """WAV or bare samples to anything that has `write`."""

    def __init__(self, file: Writable | BinaryIO, head: bytes) -> None:
        self.file = file
        self._put(head)

    def write(self, data: np.ndarray) -> None:
        self._put(data.astype(data.dtype.newbyteorder("<")).tobytes())

    def _put(self, data: bytes) -> None:
        while data:
            written = self.file.write(data)
            data = data[len(data) if written is None else written :]
        getattr(self.file, "flush", lambda: None)()


class _File(io.FileIO):
    """A file that keeps the error of a write that failed: libsndfile forgets those of its close."""

    error: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        whole, done = memoryview(data), 0
        try:
            while done < len(whole):
                done += super().write(whole[done:]) or 0
        except OSError as error:
            self.error = error
        return done


class _SoundFile:
    """An audio file in ``bare``; ``path`` is what to call it."""

    def __init__(self, file: soundfile.SoundFile, bare: _File, path: Path) -> None:
        self.file, self.bare, self.path = file, bare, path

    def write(self, data: np.ndarray) -> None:
        try:
            self.file.write(data)
        except (soundfile.LibsndfileError, AssertionError) as error:  # the latter: not all of it
            self.check()
            raise FileError(f"{self.path} cannot be written: {error}") from error

    def check(self) -> None:
        """FileError if a write has failed."""
        if error := self.bare.error:
            raise FileError(f"{self.path} cannot be written: {error.strerror}") from error
