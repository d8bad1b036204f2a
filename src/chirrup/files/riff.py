"""The head of a WAV file, and the chunks after its samples, from a file or a pipe alike.

Many programs write sizes that are not true: zero until they finish, a placeholder where they write
to a pipe, or what a file had before it was cut off. `read_head` says which sizes can be believed.
"""

import struct
from dataclasses import dataclass
from typing import Protocol

from chirrup.files.errors import FileError
from chirrup.files.wav import KINDS, UNKNOWN_SIZE, Format

_EXTENSIBLE = 0xFFFE
_MOST_KEPT = 1 << 24
_MOST_BYTES = 1 << 44
"""A month of 16 channels at 192 kHz; larger sizes of RF64 are taken for unknown."""
_HEAD_BYTES = 1 << 12
"""Programs write to a pipe that they are about to give 2 or 4 GiB, less a head or a block."""
_NAMES = (
    b"datafmt factLISTJUNKjunkPAD FLLRbextcartcue plstlablnotesmplinstacidafspID3 id3 iXML_PMX"
    b"axmlchnads64r64mPEAKlevlumidminfelm1elmoregnDGDASAURstrcDISPSyLpCr8rwamdguan"
)
_CHUNKS = frozenset(_NAMES[place : place + 4] for place in range(0, len(_NAMES), 4))
"""Names of chunks that programs write."""
_FILES = (b"RIFF", b"RF64", b"RIFX")


class NotWavError(Exception):
    """Not WAV, or a file that ends before its samples."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Ahead:
    """A file or pipe of which a few bytes can be looked at before they are read.

    Attributes:
        offset: bytes read so far.
        kept: all of them, as long as it is not None.
    """

    def __init__(self, file: Readable) -> None:
        self.file, self.offset = file, 0
        self.kept: bytearray | None = bytearray()
        self._next = b""

    def peek(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        while len(self._next) < size and (data := self.file.read(size - len(self._next))):
            self._next += data
        return self._next[:size]

    def read1(self, size: int) -> bytes:
        """Some of the next bytes, as soon as there are any; none at the end."""
        if self._next:
            data, self._next = self._next[:size], self._next[size:]
        else:
            data = getattr(self.file, "read1", self.file.read)(size)
        self.offset += len(data)
        if self.kept is not None:
            self.kept.extend(data)
            if len(self.kept) > _MOST_KEPT:
                raise FileError(
                    f"its samples do not begin within {_MOST_KEPT >> 20} MiB: give a file, no pipe"
                )
        return data

    def take(self, size: int) -> bytes:
        """The next bytes, all of them; NotWavError where there are fewer."""
        data = b""
        while len(data) < size:
            piece = self.read1(size - len(data))
            if not piece:
                raise NotWavError("it ends in its head")
            data += piece
        return data

    def skip(self, size: int | None = None) -> int:
        """Go on by so many bytes, or to the end; how many there were."""
        start = self.offset
        while size is None or self.offset < start + size:
            left = 1 << 16 if size is None else start + size - self.offset
            if not self.read1(min(1 << 16, left)):
                break
        return self.offset - start


@dataclass(frozen=True)
class Head:
    """What comes before the samples of a WAV file.

    Attributes:
        format: of the samples; None where they need a decoder.
        coding: content of the chunk ``fmt``.
        promised_bytes: of the samples, as it says; None where it says that it does not know.
        data_bytes: the same where it can be believed; None where only the end of the file tells.
        unfinished: it says that there are none, and yet samples follow.
        unpadded: a chunk of odd size has no pad byte.
        end: of the RIFF in bytes from the start; None where that is unknown.
    """

    format: Format | None
    coding: bytes
    promised_bytes: int | None
    data_bytes: int | None
    unfinished: bool
    unpadded: bool
    end: int | None

    @property
    def notes(self) -> list[str]:
        """What is wrong with it, in words."""
        return ["its head was never finished: it is read to its end"] if self.unfinished else []


def read_head(file: Ahead) -> Head:
    """Read up to the first sample. What is read is no longer kept where nobody else can want it:
    once the samples are known to need no decoder.

    Raises:
        NotWavError: hand ``file.kept`` and the rest to somebody else.
        FileError: it goes on without end.
    """
    magic, riff_bytes, kind = struct.unpack("<4sI4s", file.take(12))
    if magic not in (b"RIFF", b"RF64") or kind != b"WAVE":
        raise NotWavError("no RIFF")
    end = None if riff_bytes in (0, UNKNOWN_SIZE) else riff_bytes + 8
    coding, form, long_bytes, unpadded = None, None, 0, False
    while True:
        name, size = struct.unpack("<4sI", file.take(8))
        if name == b"data":
            break
        if name in (b"fmt ", b"ds64") and size < 1 << 16:
            content = file.take(size)
            if name == b"fmt ":
                coding, form = content, _format(content)
                if form is not None:
                    file.kept = None
            elif magic == b"RF64" and size >= 16:
                end, long_bytes = struct.unpack_from("<QQ", content)
                end = end + 8 if 0 < end < _MOST_BYTES else None
        elif file.skip(size) < size:
            raise NotWavError("it ends in its head")
        unpadded |= not _skip_pad(file, size)
    if coding is None:
        raise NotWavError("no format before the samples")
    if magic == b"RF64" and size == UNKNOWN_SIZE:
        known = long_bytes if 0 < long_bytes < _MOST_BYTES else None
        return Head(form, coding, known, known, False, unpadded, end)
    unfinished = size == 0 and file.peek(1) != b"" and not _is_chunk(file, end)
    promised = None if size >= UNKNOWN_SIZE - _HEAD_BYTES else size
    unknown = unfinished or abs(size - (1 << 31)) <= _HEAD_BYTES
    return Head(form, coding, promised, None if unknown else promised, unfinished, unpadded, end)


def skip_chunks(file: Ahead, head: Head) -> str | None:
    """Read what follows the samples to the end; a note if it is more than chunks of the file.

    Args:
        file: stands after the last sample.
    """
    _skip_pad(file, head.data_bytes or 0)
    while _is_chunk(file, head.end):
        _, size = struct.unpack("<4sI", file.take(8))
        file.skip(size)
        _skip_pad(file, size)
    name = file.peek(4)
    count = file.skip()
    if count == 0:
        return None
    what = ", which are another WAV file," if name in _FILES else ""
    return f"the {count} bytes after its end{what} are left out"


def _skip_pad(file: Ahead, size: int) -> bool:
    """Go past the byte that makes an odd size even; whether it is there."""
    if size % 2:
        following = file.peek(5)
        if following[:4] in _CHUNKS and following[1:] not in _CHUNKS:
            return False
        file.skip(1)
    return True


def _is_chunk(file: Ahead, end: int | None) -> bool:
    """Whether a chunk comes next: one with a known name, or one that the RIFF has room for."""
    following = file.peek(8)
    if len(following) < 8:
        return False
    name, size = struct.unpack("<4sI", following)
    fits = end is not None and file.offset + 8 + size <= end
    return name in _CHUNKS or (fits and name.rstrip().isalnum() and name not in _FILES)


def _format(content: bytes) -> Format | None:
    """The format that a chunk ``fmt`` tells; None for samples that need a decoder."""
    if len(content) < 16:
        raise NotWavError("a short format chunk")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack_from("<H", content, 24)[0]
    kind = KINDS.get((tag, bits))
    if kind is None or channels == 0 or align != channels * bits // 8:
        return None
    return Format(kind, rate, channels)
