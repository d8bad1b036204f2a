"""Opening of seekable audio files with soundfile.

libsndfile reads a WAV file with an unfinished header as empty. It rejects a WAV file without a
padding byte, or with another file after it. It fails at the end of a FLAC file whose header does
not state its length, and estimates the length of an MP3 file without an Info frame. `open_sound`
gives such a file a new header.
"""

import os
import re
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
from chirrup.files.mp3 import with_info
from chirrup.files.riff import (
    NotWavError,
    PeekableFile,
    WavHeader,
    is_placeholder,
    read_wav_header,
    skip_chunks,
)
from chirrup.files.tags import after_id3, read_tags
from chirrup.files.wav import UNKNOWN_SIZE
from chirrup.resampling import RATES_HZ
from chirrup.words import counted

BLOCK_SAMPLES = 1 << 15
_LARGEST_EMPTY = 1 << 12
"""Largest size in bytes of a file that may have no samples."""
_WRONG_SIZE = re.compile(r"^ *(?:FORM|riff|Data Size) *: (\d+) \(should be", re.MULTILINE)
"""The size in the header of AIFF, W64 or AU, in the log of libsndfile."""
_NO_LAST_PAGE = "Last page lacks an end-of-stream bit"
"""Words of the log of libsndfile about an Ogg file."""
_UNKNOWN_FRAMES = (1 << 63) - 1
"""Number of samples of a FLAC file that does not state it, according to libsndfile."""


class UnreadableError(Exception):
    """The file is not audio, or it is damaged."""


@dataclass(frozen=True)
class Sound:
    """An open audio file.

    Attributes:
        file: the open file.
        notes: descriptions of faults of its header.
        tags: its tags.
        cut_off: the note that states that the end of the file is missing; empty if it is not.
            libsndfile reads such a file as a shorter one, except FLAC and MP3.
    """

    file: soundfile.SoundFile
    notes: list[str]
    tags: dict[str, str]
    cut_off: str


@contextmanager
def open_sound(source: str | Path | BinaryIO) -> Generator[Sound, None, None]:
    """Open a file of any format that soundfile reads.

    Args:
        source: path of a regular file, or a seekable binary file object, which stays open.

    Raises:
        OSError: the file cannot be opened.
        UnreadableError: the file is not audio, or it is empty, or it is large and has no samples.
    """
    with ExitStack() as stack:
        content: BinaryIO
        if isinstance(source, (str, Path)):
            if os.path.exists(source) and not os.path.isfile(source):
                raise UnreadableError("it is not a regular file")
            content = stack.enter_context(Path(source).open("rb"))
            place = str(source) if sys.platform == "win32" else os.fsencode(source)
        else:
            content = place = source
        size = content.seek(0, os.SEEK_END)
        if size == 0:
            raise UnreadableError("it is empty")
        wav = _wav(content)
        cut_off = wav.cut_off if wav else ""
        try:
            file = _opened(place, content, wav)
            if file.format == "FLAC" and file.frames == _UNKNOWN_FRAMES:
                file.close()
                file, cut_off = _counted_flac(content, size)
            elif file.format == "MP3" and (beginning := with_info(content)):
                file.close()
                header, start = beginning
                file = _with_header(content, header, start, size - start)
        except soundfile.LibsndfileError as error:
            text = error.error_string.rstrip(".")
            if text.startswith("File does not exist"):  # libsndfile, if a broken MP3 cannot be read
                text = "Format not recognised"
            raise UnreadableError(text) from error
        except TypeError as error:  # soundfile requires a sample rate if the ending is .raw
            raise UnreadableError("a file with the ending .raw has no header") from error
        with file:
            if file.frames == 0 and size > _LARGEST_EMPTY and not (wav and wav.size == 0):
                raise UnreadableError(f"it has no samples in {size} bytes")
            tags = read_tags(file) or (wav.header.tags if wav else {})
            if not wav:
                cut_off = cut_off or _cut_off(file.extra_info, size)
            notes = wav.notes if wav else [cut_off] if cut_off else []
            yield Sound(file, notes, tags, cut_off)


def _cut_off(log: str, size: int) -> str:
    """Return a note if the end of a file is missing, according to the log of libsndfile."""
    wrong = _WRONG_SIZE.search(log)
    stated = int(wrong[1]) if wrong else 0
    if size < stated and not is_placeholder(stated):
        return f"its header states {counted(stated, 'byte')}, but it has {size}"
    return "its last page is missing" if _NO_LAST_PAGE in log else ""


def blocks(file: soundfile.SoundFile, samples: int | None = None) -> Iterator[np.ndarray]:
    """Read a file block by block, in memory that does not depend on the length in its header.

    Args:
        samples: number of samples to read; None is all.

    Returns:
        Blocks ``float32 [samples, channels]``.

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


def check_rate(file: soundfile.SoundFile) -> None:
    """Refuse a sample rate at which resampling takes a hundred times the memory, or nothing works.

    Raises:
        UnreadableError: it is outside `RATES_HZ`.
    """
    low, high = RATES_HZ
    if not low <= file.samplerate <= high:
        raise UnreadableError(f"its sample rate is {file.samplerate} Hz, must be {low} to {high}")


def read_sound(source: str | Path | BinaryIO) -> tuple[np.ndarray, int]:
    """Return all samples of a file, ``float32 [samples, channels]``, and its sample rate in Hz.

    Raises:
        OSError: the file cannot be opened.
        UnreadableError: the file is not audio, it is damaged, or its sample rate is out of range.
    """
    with open_sound(source) as sound:
        check_rate(sound.file)
        return read_samples(sound.file), sound.file.samplerate


def read_samples(file: soundfile.SoundFile, samples: int | None = None) -> np.ndarray:
    """Return `blocks` as one array ``float32 [samples, channels]``."""
    nothing = np.zeros((0, file.channels), np.float32)
    return np.concatenate([nothing, *blocks(file, samples)])


# --- WAV ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wav:
    """The header of a WAV file, offset and size of its samples in bytes, and notes on faults.

    ``cut_off`` is the note that the file is shorter than its samples, or empty. If the sizes differ
    by less than the header, the header was written by a program that counts wrong.
    """

    header: WavHeader
    start: int
    size: int
    notes: list[str]
    cut_off: str

    @property
    def is_misread(self) -> bool:
        """Whether libsndfile would read no samples, or wrong samples."""
        return self.header.unfinished or self.header.unpadded


def _wav(content: BinaryIO) -> _Wav | None:
    content.seek(0)
    ahead = PeekableFile(content, keep=False)
    try:
        header = read_wav_header(ahead)
    except NotWavError:
        return None
    start, notes = ahead.offset, header.notes
    file_bytes = content.seek(0, os.SEEK_END)
    there, cut_off = file_bytes - start, ""
    size = there if header.data_bytes is None else min(there, header.data_bytes)
    if there < (header.stated_bytes or 0):
        stated = counted(header.stated_bytes or 0, "byte")
        notes.append(f"its header states {stated} of samples, but it has {there}")
        cut_off = notes[-1] if file_bytes < (header.data_bytes or 0) else ""
    content.seek(start + size)
    if follows := skip_chunks(PeekableFile(content, offset=start + size, keep=False), header):
        notes.append(follows)
    return _Wav(header, start, size, notes, cut_off)


def _opened(
    place: str | bytes | BinaryIO, content: BinaryIO, wav: _Wav | None
) -> soundfile.SoundFile:
    """Open a file by its path or as an object, and repair the header of a WAV file if needed."""
    if wav and wav.is_misread:
        return _repaired(content, wav)
    content.seek(0)
    try:
        by_path = isinstance(place, (str, bytes))
        return soundfile.SoundFile(cast(str, place)) if by_path else SoundFile(place)
    except soundfile.LibsndfileError:
        if wav is None:
            raise
        return _repaired(content, wav)


def _repaired(content: BinaryIO, wav: _Wav) -> soundfile.SoundFile:
    """Open a WAV file with a new header."""
    magic, more, size = b"RIFF", b"", wav.size
    coding = b"fmt " + struct.pack("<I", len(wav.header.coding)) + wav.header.coding
    riff_bytes = 4 + len(coding) + 8 + size
    if riff_bytes > UNKNOWN_SIZE:
        magic, more = b"RF64", b"ds64" + struct.pack("<IQQQI", 28, riff_bytes + 36, size, 0, 0)
        riff_bytes = size = UNKNOWN_SIZE
    header = magic + struct.pack("<I", riff_bytes) + b"WAVE" + more + coding
    header += b"data" + struct.pack("<I", size)
    return _with_header(content, header, wav.start, wav.size)


# --- FLAC --------------------------------------------------------------------------------------


class _Unseekable(SoundFile):
    """A file in which soundfile does not seek after each block."""

    def seekable(self) -> bool:
        return False


def _counted_flac(content: BinaryIO, size: int) -> tuple[soundfile.SoundFile, str]:
    """Count the samples of a FLAC file, and open it with a header that states them.

    Returns:
        The open file, and a note if it is damaged after the samples that were counted.

    Raises:
        UnreadableError: it has no samples.
    """
    content.seek(0)
    samples, note = 0, ""
    with _Unseekable(content) as file:
        rate_hz = file.samplerate
        try:
            for block in blocks(file):
                samples += len(block)
        except UnreadableError:
            note = f"it is damaged: only the first {samples / rate_hz:.2f} s can be read"
    if samples == 0:
        raise UnreadableError("it has no samples")
    start = content.seek(after_id3(content))
    header = bytearray(content.read(26))  # the last 36 bits are the number of samples
    header[21:26] = (header[21] >> 4 << 36 | samples).to_bytes(5, "big")
    return _with_header(content, bytes(header), start + 26, size - start - 26), note


# --- parts of files ----------------------------------------------------------------------------


def _with_header(content: BinaryIO, header: bytes, start: int, size: int) -> soundfile.SoundFile:
    """Open a part of a file with a new header."""
    return SoundFile(cast(BinaryIO, _Repaired(content, header, start, size)))


class _Repaired:
    """A binary file that consists of a header and a part of another file."""

    def __init__(self, content: BinaryIO, header: bytes, start: int, size: int) -> None:
        self.content, self.header, self.start = content, header, start
        self.size, self.position = len(header) + size, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        data = self.header[self.position : self.position + size]
        place = self.position + len(data)
        wanted = min(size - len(data), self.size - place)
        if wanted > 0:
            self.content.seek(self.start + place - len(self.header))
            data += self.content.read(wanted)
        self.position += len(data)
        return data
