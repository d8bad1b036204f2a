"""Audio files that seek, as soundfile opens them, apart from WAV files with wrong heads.

libsndfile reads a WAV file whose size was never filled in as empty. It refuses one that lacks a pad
byte, or that another file follows. It gets such a file with a new head.
"""

import os
import struct
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import soundfile

from chirrup.files.callbacks import SoundFile
from chirrup.files.riff import Ahead, Head, NotWavError, read_head, skip_chunks
from chirrup.files.wav import UNKNOWN_SIZE

BLOCK_SAMPLES = 1 << 15
_LARGEST_EMPTY = 1 << 12
"""Bytes of a file that may be nothing but a head."""


class UnreadableError(Exception):
    """What is no audio, or damaged; the message says why."""


@dataclass(frozen=True)
class Sound:
    """An open file, and what is wrong with its head, in words."""

    file: soundfile.SoundFile
    notes: list[str]


@contextmanager
def open_sound(source: str | Path | BinaryIO) -> Generator[Sound, None, None]:
    """Open a file of any format that soundfile reads.

    Args:
        source: a path of a regular file, or a binary file object that seeks, which stays open.

    Raises:
        OSError: it cannot be opened.
        UnreadableError: it is no audio, or it holds none although it is large.
    """
    with ExitStack() as stack:
        content: BinaryIO
        if isinstance(source, (str, Path)):
            content = stack.enter_context(Path(source).open("rb"))
            place = str(source) if sys.platform == "win32" else os.fsencode(source)
        else:
            content = place = source
        wav, size = _wav(content), content.seek(0, os.SEEK_END)
        try:
            if wav and wav.is_misread:
                file = _mended(content, wav)
            else:
                content.seek(0)
                by_path = isinstance(place, (str, bytes))
                file = soundfile.SoundFile(cast(str, place)) if by_path else SoundFile(place)
        except soundfile.LibsndfileError as error:
            if wav is None or wav.is_misread:
                raise UnreadableError(error.error_string.rstrip(".")) from error
            file = _mended(content, wav)
        except TypeError as error:  # soundfile asks for the rate of what is named .raw
            raise UnreadableError("its name says that it has no header") from error
        with file:
            if file.frames == 0 and size > _LARGEST_EMPTY and not (wav and wav.size == 0):
                raise UnreadableError(f"it has no samples in {size} bytes")
            yield Sound(file, wav.notes if wav else [])


def blocks(file: soundfile.SoundFile, samples: int | None = None) -> Iterator[np.ndarray]:
    """``float32 [samples, channels]``, one after the other, so many samples in all, or to the end.

    No memory is taken by what the file's head promises.

    Raises:
        UnreadableError: the file is damaged.
    """
    while samples is None or samples > 0:
        most = BLOCK_SAMPLES if samples is None else min(samples, BLOCK_SAMPLES)
        try:
            block = file.read(most, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UnreadableError(error.error_string.rstrip(".")) from error
        if len(block) == 0:
            return
        samples = None if samples is None else samples - len(block)
        yield block


def read_sound(source: str | Path | BinaryIO) -> tuple[np.ndarray, int]:
    """All of a file, ``float32 [samples, channels]``, and its rate; errors as of `open_sound`."""
    with open_sound(source) as sound:
        return read_samples(sound.file), sound.file.samplerate


def read_samples(file: soundfile.SoundFile, samples: int | None = None) -> np.ndarray:
    """`blocks` in one: ``float32 [samples, channels]``."""
    nothing = np.zeros((0, file.channels), np.float32)
    return np.concatenate([nothing, *blocks(file, samples)])


# --- WAV ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wav:
    """A WAV file: its head, the place and size of its samples, and what is wrong, in words."""

    head: Head
    start: int
    size: int
    notes: list[str]

    @property
    def is_misread(self) -> bool:
        """Whether libsndfile would find no samples, or others."""
        return self.head.unfinished or self.head.unpadded


def _wav(content: BinaryIO) -> _Wav | None:
    content.seek(0)
    ahead = Ahead(content)
    ahead.kept = None
    try:
        head = read_head(ahead)
    except NotWavError:
        return None
    start, notes = ahead.offset, head.notes
    there = content.seek(0, os.SEEK_END) - start
    size = there if head.data_bytes is None else min(there, head.data_bytes)
    if there < (head.promised_bytes or 0):
        notes.append(f"its head promises {head.promised_bytes} bytes of samples, {there} are there")
    content.seek(start + size)
    rest = Ahead(content)
    rest.kept, rest.offset = None, start + size
    if follows := skip_chunks(rest, head):
        notes.append(follows)
    return _Wav(head, start, size, notes)


def _mended(content: BinaryIO, wav: _Wav) -> soundfile.SoundFile:
    """The file with a new head."""
    magic, more, size = b"RIFF", b"", wav.size
    coding = b"fmt " + struct.pack("<I", len(wav.head.coding)) + wav.head.coding
    riff_bytes = 4 + len(coding) + 8 + size
    if riff_bytes > UNKNOWN_SIZE:
        magic, more = b"RF64", b"ds64" + struct.pack("<IQQQI", 28, riff_bytes + 36, size, 0, 0)
        riff_bytes = size = UNKNOWN_SIZE
    head = magic + struct.pack("<I", riff_bytes) + b"WAVE" + more + coding
    head += b"data" + struct.pack("<I", size)
    return SoundFile(cast(BinaryIO, _Mended(content, head, wav.start, wav.size)))


class _Mended:
    """A head, and behind it a part of a file, as a binary file."""

    def __init__(self, content: BinaryIO, head: bytes, start: int, size: int) -> None:
        self.content, self.head, self.start = content, head, start
        self.size, self.position = len(head) + size, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        data = self.head[self.position : self.position + size]
        place = self.position + len(data)
        wanted = min(size - len(data), self.size - place)
        if wanted > 0:
            self.content.seek(self.start + place - len(self.head))
            data += self.content.read(wanted)
        self.position += len(data)
        return data
