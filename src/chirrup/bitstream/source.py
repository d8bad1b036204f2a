"""Bytes from a file, pipe or socket, with short reads joined up and a look ahead."""

import io
from typing import Protocol

_READ_SIZE = 1 << 16


class Readable(Protocol):
    """A blocking binary file. `read` may return fewer bytes than asked; b"" is the end."""

    def read(self, size: int, /) -> bytes: ...


class Source:
    """A look-ahead buffer over a readable object. It holds at most what `fill` asked for + 64 KiB.

    Where the object has `read1` (buffered files and pipes do), or a `read` that returns what is
    there, the source never waits for more than it needs, so a live pipe is not held up.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._read = getattr(file, "read1", file.read)
        self.seekable: bool = getattr(file, "seekable", lambda: False)()
        self._origin = self._raw_seek(0, io.SEEK_CUR) if self.seekable else 0
        self._buffer = bytearray()
        self.offset = 0
        """Position of the next byte, counted from where the file object stood at the start."""

    @property
    def available(self) -> int:
        """Bytes in the buffer."""
        return len(self._buffer)

    def fill(self, size: int) -> bool:
        """Reads on until `size` bytes are in the buffer; False when the file ends before that."""
        while len(self._buffer) < size:
            data = self._read(_READ_SIZE)
            if not data:
                return False
            self._buffer += data
        return True

    def peek(self, size: int) -> bytes:
        """The next `size` bytes of the buffer, or as many as it has."""
        return bytes(self._buffer[:size])

    def drop(self, size: int) -> None:
        """Moves on by `size` bytes, or to the end of the buffer."""
        self.offset += min(size, len(self._buffer))
        del self._buffer[:size]

    def skip_to(self, marker: bytes) -> bool:
        """Moves on, by one byte or more, to the next `marker`. False, and at the end, if none."""
        self.drop(1)
        while (found := self._buffer.find(marker)) < 0:
            self.drop(max(0, len(self._buffer) - len(marker) + 1))
            if not self.fill(len(marker)):
                self.drop(len(self._buffer))
                return False
        self.drop(found)
        return True

    def skip_rest(self) -> int:
        """Moves on to the end; how many bytes that are."""
        start = self.offset
        if self.seekable:
            self.seek(max(start, self.size()))
        else:
            self.drop(len(self._buffer))
            while self.fill(1):
                self.drop(len(self._buffer))
        return self.offset - start

    def seek(self, offset: int) -> None:
        """Goes to a byte offset."""
        self._raw_seek(self._origin + offset, io.SEEK_SET)
        self._buffer.clear()
        self.offset = offset

    def size(self) -> int:
        """Bytes in the whole file; the position is lost (`seek` next)."""
        return self._raw_seek(0, io.SEEK_END) - self._origin

    def _raw_seek(self, offset: int, whence: int) -> int:
        return getattr(self._file, "seek")(offset, whence)  # noqa: B009 (not in the protocol)
