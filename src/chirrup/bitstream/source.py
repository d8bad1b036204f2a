"""A buffer over a file, pipe or socket, which joins short reads and can look ahead."""

import io
from typing import Protocol

_READ_SIZE = 1 << 16


class Readable(Protocol):
    """A blocking binary file. ``read`` may return fewer bytes than requested, none at the end."""

    def read(self, size: int, /) -> bytes: ...


class SourceBuffer:
    """A look-ahead buffer over a binary file. It holds at most 64 KiB more than `fill` requests.

    If the file has ``read1``, as buffered files and pipes have, or a ``read`` that returns the
    available bytes, the buffer waits only for bytes that it needs, so a live pipe is not delayed.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._read = getattr(file, "read1", file.read)
        self.seekable: bool = getattr(file, "seekable", lambda: False)()
        self._origin = self._raw_seek(0, io.SEEK_CUR) if self.seekable else 0
        self._buffer = bytearray()
        self.offset = 0
        """Position of the next byte, counted from the position of the file at the start."""

    @property
    def available(self) -> int:
        """Number of bytes in the buffer."""
        return len(self._buffer)

    def fill(self, size: int) -> bool:
        """Read until ``size`` bytes are in the buffer; return False if the file ends earlier."""
        while len(self._buffer) < size:
            data = self._read(_READ_SIZE)
            if not data:
                return False
            self._buffer += data
        return True

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or fewer if the buffer has fewer."""
        return bytes(self._buffer[:size])

    def drop(self, size: int) -> None:
        """Advance by ``size`` bytes, or to the end of the buffer."""
        self.offset += min(size, len(self._buffer))
        del self._buffer[:size]

    def skip_to(self, marker: bytes) -> bool:
        """Advance by at least a byte to the next marker; return False at the end of the file."""
        self.drop(1)
        while (found := self._buffer.find(marker)) < 0:
            self.drop(max(0, len(self._buffer) - len(marker) + 1))
            if not self.fill(len(marker)):
                self.drop(len(self._buffer))
                return False
        self.drop(found)
        return True

    def skip_rest(self) -> int:
        """Advance to the end of the file and return the number of bytes skipped."""
        start = self.offset
        if self.seekable:
            self.seek(max(start, self.size()))
        else:
            self.drop(len(self._buffer))
            while self.fill(1):
                self.drop(len(self._buffer))
        return self.offset - start

    def seek(self, offset: int) -> None:
        """Move to a byte offset."""
        self._raw_seek(self._origin + offset, io.SEEK_SET)
        self._buffer.clear()
        self.offset = offset

    def size(self) -> int:
        """Return the size of the file in bytes. It loses the position: call `seek` next."""
        return self._raw_seek(0, io.SEEK_END) - self._origin

    def _raw_seek(self, offset: int, whence: int) -> int:
        return getattr(self._file, "seek")(offset, whence)  # noqa: B009 (not in the protocol)
