"""Reading of the header of a WAV file and of the chunks after its samples, also from a pipe.

The sizes in a header are often wrong: zero until a recording is finished, a placeholder in a pipe,
or the size of a file before it was cut off. `read_wav_header` decides which sizes are valid.
"""

import struct
from dataclasses import dataclass

from chirrup.bitstream import Readable
from chirrup.errors import FileError
from chirrup.files.tags import info_tags
from chirrup.files.wav import KINDS, UNKNOWN_SIZE, Format
from chirrup.words import counted

_EXTENSIBLE = 0xFFFE
_MOST_KEPT = 1 << 24
_MOST_BYTES = 1 << 44
"""A larger size in RF64 counts as unknown. 16 channels at 192 kHz take a month to fill it."""
_HEADER_BYTES = 1 << 12
"""Largest difference of a placeholder from 2 or 4 GiB, by a header or a block."""
_NAMES = (
    b"datafmt factLISTJUNKjunkPAD FLLRbextcartcue plstlablnotesmplinstacidafspID3 id3 iXML_PMX"
    b"axmlchnads64r64mPEAKlevlumidminfelm1elmoregnDGDASAURstrcDISPSyLpCr8rwamdguan"
)

_CHUNKS = frozenset(_NAMES[place : place + 4] for place in range(0, len(_NAMES), 4))
"""Names of known chunks."""
_FILES = (b"RIFF", b"RF64", b"RIFX")


class NotWavError(Exception):
    """The file is not WAV, or it ends before its samples."""


class PeekableFile:
    """A binary file whose next bytes can be read in advance.

    Attributes:
        offset: number of bytes read so far.
        kept: the bytes read so far, or None if they are not kept.
    """

    def __init__(self, file: Readable, *, offset: int = 0, keep: bool = True) -> None:
        self.file, self.offset = file, offset
        self.kept = bytearray() if keep else None
        self._next = b""

    def peek(self, size: int) -> bytes:
        """Return the next bytes, or fewer at the end, without consuming them."""
        while len(self._next) < size and (data := self.file.read(size - len(self._next))):
            self._next += data
        return self._next[:size]

    def read1(self, size: int) -> bytes:
        """Read at most ``size`` bytes as soon as any are available; none at the end."""
        if self._next:
            data, self._next = self._next[:size], self._next[size:]
        else:
            data = getattr(self.file, "read1", self.file.read)(size)
        self.offset += len(data)
        if self.kept is not None:
            self.kept.extend(data)
            if len(self.kept) > _MOST_KEPT:
                raise FileError(
                    f"its samples do not begin within {_MOST_KEPT >> 20} MiB: use a file instead"
                )
        return data

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes, as `read1` does."""
        return self.read1(size)

    def take(self, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise NotWavError if there are fewer."""
        data = b""
        while len(data) < size:
            piece = self.read1(size - len(data))
            if not piece:
                raise NotWavError("it ends in its header")
            data += piece
        return data

    def skip(self, size: int | None = None) -> int:
        """Skip ``size`` bytes, or all up to the end, and return the number of bytes skipped."""
        start = self.offset
        while size is None or self.offset < start + size:
            left = 1 << 16 if size is None else start + size - self.offset
            if not self.read1(min(1 << 16, left)):
                break
        return self.offset - start


@dataclass(frozen=True)
class WavHeader:
    """The header of a WAV file.

    Attributes:
        format: format of the samples, or None if they need a decoder.
        coding: content of the chunk ``fmt``.
        stated_bytes: size of the samples in the header, or None if it does not state a size.
        data_bytes: valid size of the samples, or None if they end with the file.
        unfinished: the stated size is zero although samples follow.
        unpadded: a chunk of odd size has no padding byte.
        end: offset of the end of the RIFF, or None if it is unknown.
        tags: tags in the header.
    """

    format: Format | None
    coding: bytes
    stated_bytes: int | None
    data_bytes: int | None
    unfinished: bool
    unpadded: bool
    end: int | None
    tags: dict[str, str]

    @property
    def notes(self) -> list[str]:
        """Descriptions of faults of the header."""
        return ["its header is unfinished: the file is read to its end"] if self.unfinished else []


def read_wav_header(file: PeekableFile) -> WavHeader:
    """Read the header of a WAV file, up to the first sample.

    If the samples need no decoder, ``file.kept`` becomes None, because no other reader needs the
    bytes.

    Raises:
        NotWavError: the file is not WAV. Another reader must read ``file.kept`` and the rest.
        FileError: the header is too long.
    """
    magic, riff_bytes, kind = struct.unpack("<4sI4s", file.take(12))
    if magic not in (b"RIFF", b"RF64") or kind != b"WAVE":
        raise NotWavError("it is not RIFF")
    end = None if riff_bytes in (0, UNKNOWN_SIZE) else riff_bytes + 8
    coding, form, long_bytes, unpadded = None, None, 0, False
    tags: dict[str, str] = {}
    while True:
        name, size = struct.unpack("<4sI", file.take(8))
        if name == b"data":
            break
        if name in (b"fmt ", b"ds64", b"LIST") and size < 1 << 16:
            content = file.take(size)
            if name == b"fmt ":
                coding, form = content, _format(content)
                if form is not None:
                    file.kept = None
            elif name == b"LIST":
                tags |= info_tags(content)
            elif magic == b"RF64" and size >= 16:
                end, long_bytes = struct.unpack_from("<QQ", content)
                end = end + 8 if 0 < end < _MOST_BYTES else None
        elif file.skip(size) < size:
            raise NotWavError("it ends in its header")
        unpadded |= not _skip_pad(file, size)
    if coding is None:
        raise NotWavError("it has no format before the samples")
    if magic == b"RF64" and size == UNKNOWN_SIZE:
        known = long_bytes if 0 < long_bytes < _MOST_BYTES else None
        return WavHeader(form, coding, known, known, False, unpadded, end, tags)
    unfinished = size == 0 and file.peek(1) != b"" and not _is_chunk(file, end)
    promised = None if size >= UNKNOWN_SIZE - _HEADER_BYTES else size
    believed = None if unfinished or is_placeholder(size) else promised
    return WavHeader(form, coding, promised, believed, unfinished, unpadded, end, tags)


def is_placeholder(size: int) -> bool:
    """Return whether a size in bytes is near 2 or 4 GiB, as programs write it into a pipe."""
    return min(abs(size - (1 << 31)), abs(size - UNKNOWN_SIZE)) <= _HEADER_BYTES


def skip_chunks(file: PeekableFile, header: WavHeader) -> str | None:
    """Read from the last sample to the end of the file.

    Returns:
        A note if other bytes than chunks of the WAV file follow.
    """
    _skip_pad(file, header.data_bytes or 0)
    while _is_chunk(file, header.end):
        _, size = struct.unpack("<4sI", file.take(8))
        file.skip(size)
        _skip_pad(file, size)
    name = file.peek(4)
    count = file.skip()
    if count == 0:
        return None
    content = " (another WAV file)" if name in _FILES else ""
    return f"skipped {counted(count, 'byte')} after its end{content}"


def _skip_pad(file: PeekableFile, size: int) -> bool:
    """Skip the byte that pads a chunk of odd size; return False if it is missing."""
    if size % 2:
        following = file.peek(5)
        if following[:4] in _CHUNKS and following[1:] not in _CHUNKS:
            return False
        file.skip(1)
    return True


def _is_chunk(file: PeekableFile, end: int | None) -> bool:
    """Return whether a chunk comes next: its name is known, or it fits into the RIFF."""
    following = file.peek(8)
    if len(following) < 8:
        return False
    name, size = struct.unpack("<4sI", following)
    fits = end is not None and file.offset + 8 + size <= end
    return name in _CHUNKS or (fits and name.rstrip().isalnum() and name not in _FILES)


def _format(content: bytes) -> Format | None:
    """Return the format in a chunk ``fmt``, or None if the samples need a decoder."""
    if len(content) < 16:
        raise NotWavError("its format chunk is too short")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack_from("<H", content, 24)[0]
    kind = KINDS.get((tag, bits))
    if kind is None or channels == 0 or align != channels * bits // 8:
        return None
    return Format(kind, rate, channels)
