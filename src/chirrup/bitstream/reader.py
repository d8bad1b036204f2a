"""Reading of a ``.chirrup`` file, whole, as a stream or from a frame on, also if it is damaged.

Only a damaged header is an error. After it the reader steps from record to record. Where no valid
record starts, the reader searches for the next sync marker that starts a record with a correct
CRC-32, and returns the frames in between as lost.
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chirrup.bitstream.bits import code_dtype
from chirrup.bitstream.header import MAGIC, Header, read_header
from chirrup.bitstream.record import (
    FOOTER_SIZE,
    HEAD_SIZE,
    SYNC,
    Chunk,
    End,
    decode_footer,
    decode_record,
    default_chunk_frames,
    encode_footer,
    frame_bits,
    record_size,
)
from chirrup.bitstream.source import Readable, SourceBuffer
from chirrup.words import counted

_MAX_NOTES = 100
# Limits on the bytes of false records that are checked: a constant, and a number per byte read.
# Accidental damage stays far below them. Without them, forged overlapping records take hours.
_FALSE_BYTES = 1 << 24
_FALSE_BYTES_PER_BYTE = 64


class Reader:
    """A reader of codes, chunk by chunk, in constant memory.

    Damage after the header does not raise an error; see `damage`.

    Args:
        file: a binary file, read from its position on. It need not be seekable, and it may return
            fewer bytes than requested.

    Raises:
        FormatError: there is no valid header.
    """

    header: Header
    damage: list[str]
    """Descriptions of the damage that the last `chunks` has found so far; at most 100."""

    def __init__(self, file: Readable) -> None:
        self._source = SourceBuffer(file)
        self.header = read_header(self._source)
        self.damage = []
        self._false_bytes = 0
        self._ended = False
        self._first_chunk = self._source.offset
        self._end = self._find_end() if self._source.seekable else None

    @property
    def frames(self) -> int | None:
        """Number of frames in the file; None if the file is cut off, or while it is not known.

        In a seekable file it is known at once, else when `chunks` has reached the end.
        """
        return None if self._end is None else self._end.frames

    @property
    def sample_count(self) -> int | None:
        """Samples per channel at the original rate, from the end record, else from the header."""
        if self._end is None or self._end.sample_count is None:
            return self.header.sample_count
        return self._end.sample_count

    @property
    def seekable(self) -> bool:
        """Whether the file can seek."""
        return self._source.seekable

    def finish(self) -> None:
        """Read to the end of the file after `chunks` has reached the end record.

        Bytes after the end record are noted in `damage`. A pipe is read to its end, so that its
        writer does not fail.
        """
        if not self._ended:
            return
        self._ended = False
        self._source.drop(FOOTER_SIZE)
        self._source.fill(len(MAGIC))
        another = self._source.peek(len(MAGIC)) == MAGIC
        if count := self._source.skip_rest():
            content = " (another .chirrup file)" if another else ""
            self._note(f"skipped {counted(count, 'byte')} after its end{content}")

    def chunks(self, start_frame: int = 0) -> Iterator[tuple[int, NDArray[np.integer]]]:
        """Yield the codes from ``start_frame`` on.

        Only one iteration may run at a time.

        Yields:
            The number of the first frame, and codes ``[channels, codebooks, frames]``, int16, or
            int32 if codes have 16 bits. -1 stands for absent and lost codes. Each item starts where
            the previous one ended. If frames are missing whose number is implausible for the size
            of the file, only a part of them is returned as lost, and `damage` has a note.

        Raises:
            io.UnsupportedOperation: the file is not seekable and has already been read.
            ValueError: ``start_frame`` is negative.
        """
        if start_frame < 0:
            raise ValueError(f"start_frame is {start_frame}, must not be negative")
        self.damage = []
        self._false_bytes = 0
        self._go_towards(start_frame)
        frame = start_frame
        while True:
            offset = self._source.offset
            record, skipped = self._next_record()
            if skipped:
                self._note(f"bytes {offset} to {offset + skipped - 1} are not a chunk")
            if record is None:
                time = self.header.time_of(frame)
                self._note(f"the file is cut off at {time} s: frames from {frame} on are missing")
                return
            end = record.frames if isinstance(record, End) else record.start_frame
            if end > frame:
                yield from self._gap(frame, end)
                frame = end
            if isinstance(record, End):
                self._end, self._ended = record, True
                self._check_footer(self._source.offset - offset - skipped)
                return
            codes = record.codes[:, :, frame - record.start_frame :]
            if codes.shape[2]:
                yield frame, codes
                frame += codes.shape[2]

    def _go_towards(self, start_frame: int) -> None:
        """Seek to the last chunk in the index at or before a frame, or to the first chunk."""
        if not self._source.seekable:
            if self._source.offset != self._first_chunk:
                raise io.UnsupportedOperation("this file is not seekable: it can be read only once")
            return
        offset, size = self._first_chunk, self._source.size()
        for entry_frame, entry_offset in self._end.index if self._end else []:
            if entry_frame <= start_frame and offset < entry_offset < size:
                offset = entry_offset
        self._source.seek(offset)

    def _find_end(self) -> End | None:
        """Return the end record to which the footer points, or None if either is damaged."""
        footer_offset = self._source.size() - FOOTER_SIZE
        self._source.seek(max(footer_offset, self._first_chunk))
        self._source.fill(FOOTER_SIZE)
        size = decode_footer(self._source.peek(FOOTER_SIZE))
        if size is None or footer_offset - size < self._first_chunk:
            return None
        start = footer_offset - size
        self._source.seek(start)
        record = self._record_here()
        if not isinstance(record, End):
            return None
        # If two files are joined, the footer points to the end record of the second.
        indexed = (offset for _, offset in record.index if self._first_chunk < offset < start)
        self._source.seek(max(indexed, default=self._first_chunk))
        while self._source.offset < start and isinstance(self._next_record()[0], Chunk):
            pass
        return record if self._source.offset in (start, footer_offset) else None

    def _next_record(self) -> tuple[Chunk | End | None, int]:
        """Return the next record, or None at the end, and the number of bytes skipped before it."""
        start = self._source.offset
        while True:
            offset = self._source.offset
            record = self._record_here()
            if record is not None:
                return record, offset - start
            if self._false_bytes > _FALSE_BYTES + _FALSE_BYTES_PER_BYTE * offset:
                self._note("the file has too many false chunks: the rest is not read")
                return None, 0
            if not self._source.skip_to(SYNC):
                return None, self._source.offset - start

    def _record_here(self) -> Chunk | End | None:
        """Return and consume the record that starts here. If there is none, return None."""
        if not self._source.fill(HEAD_SIZE):
            return None
        size = record_size(self.header, self._source.peek(HEAD_SIZE))
        if size is None or not self._source.fill(size):
            return None
        record = decode_record(self.header, self._source.peek(size))
        if record is None:
            self._false_bytes += size
        else:
            self._source.drop(size)
        return record

    def _gap(self, start: int, end: int) -> Iterator[tuple[int, NDArray[np.integer]]]:
        """Yield lost frames in pieces of the usual length of a chunk.

        Even an absent frame takes some bits, so the bytes read so far limit the frame number. The
        limit prevents a forged number from producing years of silence.
        """
        times = f"{self.header.time_of(start)} to {self.header.time_of(end)} s"
        self._note(f"frames {start} to {end - 1} are lost, {times}")
        plausible = self._source.offset * 8 // frame_bits(self.header)[0]
        if end > plausible:
            self._note(f"lost frames from {max(start, plausible)} on are too many and left out")
        step = default_chunk_frames(self.header)
        shape = self.header.channels, self.header.codebooks
        for frame in range(start, min(end, plausible), step):
            frames = min(step, end - frame, plausible - frame)
            yield frame, np.full((*shape, frames), -1, code_dtype(self.header.bits_per_code))

    def _check_footer(self, end_size: int) -> None:
        self._source.fill(FOOTER_SIZE)
        if self._source.peek(FOOTER_SIZE) != encode_footer(end_size):
            self._note("the footer is damaged: no frames lost, but seeking reads from the start")

    def _note(self, text: str) -> None:
        if len(self.damage) < _MAX_NOTES:
            self.damage.append(text)


def read(file: Readable) -> tuple[Header, NDArray[np.integer], int | None]:
    """Read a whole file. For long files, and to detect damage, use `Reader`.

    Returns:
        The header, the codes ``[channels, codebooks, frames]`` with -1 in lost frames, and the
        number of samples per channel, or None if it is not known.

    Raises:
        FormatError: there is no valid header.
    """
    reader = Reader(file)
    shape = reader.header.channels, reader.header.codebooks, 0
    nothing = np.empty(shape, code_dtype(reader.header.bits_per_code))
    codes = np.concatenate([nothing, *(codes for _, codes in reader.chunks())], axis=2)
    return reader.header, codes, reader.sample_count
