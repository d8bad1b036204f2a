"""Reading a `.chirrup` file, whole, as a stream or from a frame on, whatever happened to it.

Only the header can fail. After it the reader steps from record to record; where none starts, it
looks for the next sync marker that leads to a record with a true CRC-32, and gives the frames in
between as lost.
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .bits import code_dtype
from .header import MAGIC, Header, read_header
from .record import (
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
from .source import Readable, Source

_MAX_NOTES = 100
# How many bytes of records that turn out false are checked: at first, and per byte of the file.
# Damage by accident stays far below; without a bound, forged overlapping ones cost hours.
_FALSE_BYTES = 1 << 24
_FALSE_BYTES_PER_BYTE = 64


class Reader:
    """Reads codes chunk by chunk, in constant memory.

    The file object may stand anywhere, needs no seeking, and may give short reads. FormatError
    when there is no sound header there; damage after it never raises, see `damage`.
    """

    header: Header
    damage: list[str]
    """What the last `chunks` found lost so far, and where, in words; the first 100 notes."""

    def __init__(self, file: Readable) -> None:
        self._source = Source(file)
        self.header = read_header(self._source)
        self.damage = []
        self._false_bytes = 0
        self._ended = False
        self._first_chunk = self._source.offset
        self._end = self._find_end() if self._source.seekable else None

    @property
    def frames(self) -> int | None:
        """Frames in the whole file. None in a file that was cut off, or while still unknown.

        It is known at once when the file seeks, else when `chunks` has come to the end.
        """
        return None if self._end is None else self._end.frames

    @property
    def sample_count(self) -> int | None:
        """Samples per channel at the original rate: from the end of the file, else the header."""
        if self._end is None or self._end.sample_count is None:
            return self.header.sample_count
        return self._end.sample_count

    @property
    def seekable(self) -> bool:
        return self._source.seekable

    def finish(self) -> None:
        """Reads on to the end of the file, if `chunks` came to the end record; notes what is there.

        Of a pipe this waits for the end, so that its writer can write all.
        """
        if not self._ended:
            return
        self._ended = False
        self._source.drop(FOOTER_SIZE)
        self._source.fill(len(MAGIC))
        another = self._source.peek(len(MAGIC)) == MAGIC
        if count := self._source.skip_rest():
            what = ", which are another .chirrup file," if another else ""
            self._note(f"the {count} bytes after its end{what} are left out")

    def chunks(self, start_frame: int = 0) -> Iterator[tuple[int, NDArray[np.integer]]]:
        """Yields (frame number, codes `[channels, codebooks, frames]`) from `start_frame` on.

        Codes are int16 (int32 for 16 bits), -1 where absent or lost. Each item starts where the
        one before it ended; the only exception is a jump too long to be true for a file of this
        size, which is cut short and noted in `damage`. One iteration at a time; where the file
        does not seek, one in all (io.UnsupportedOperation after that).
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
                self._note(f"bytes {offset} to {offset + skipped - 1} are no chunk")
            if record is None:
                self._note(f"the file is cut off: frames from {frame} on are missing")
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
        """Moves to the last chunk that the index has at or before a frame, or to the first."""
        if not self._source.seekable:
            if self._source.offset != self._first_chunk:
                raise io.UnsupportedOperation("this file does not seek: it can be read once only")
            return
        offset, size = self._first_chunk, self._source.size()
        for entry_frame, entry_offset in self._end.index if self._end else []:
            if entry_frame <= start_frame and offset < entry_offset < size:
                offset = entry_offset
        self._source.seek(offset)

    def _find_end(self) -> End | None:
        """The end record, through the footer; None when either is missing or damaged."""
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
        # The footer of two files in one leads to the end record of the second.
        indexed = (offset for _, offset in record.index if self._first_chunk < offset < start)
        self._source.seek(max(indexed, default=self._first_chunk))
        while self._source.offset < start and isinstance(self._next_record()[0], Chunk):
            pass
        return record if self._source.offset in (start, footer_offset) else None

    def _next_record(self) -> tuple[Chunk | End | None, int]:
        """The next whole record, None at the end of the file, and the bytes skipped before it."""
        start = self._source.offset
        while True:
            offset = self._source.offset
            record = self._record_here()
            if record is not None:
                return record, offset - start
            if self._false_bytes > _FALSE_BYTES + _FALSE_BYTES_PER_BYTE * offset:
                self._note("too many false chunks, made to waste time: the rest is not read")
                return None, 0
            if not self._source.skip_to(SYNC):
                return None, self._source.offset - start

    def _record_here(self) -> Chunk | End | None:
        """Takes the record that starts here. When none does: None, and nothing is taken."""
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
        """Yields lost frames in pieces of the usual chunk length.

        A frame takes some bits even where it is absent, so the bytes so far bound the frame
        number that can be true. The bound keeps a forged one from standing for years of silence.
        """
        self._note(f"frames {start} to {end - 1} are lost")
        plausible = self._source.offset * 8 // frame_bits(self.header)[0]
        if end > plausible:
            self._note(f"of these, frames from {max(start, plausible)} on are left out: too many")
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
    """Reads a whole file: header, codes `[channels, codebooks, frames]`, sample count if known.

    Lost frames are -1. For long files, and to hear about damage, use `Reader`.
    """
    reader = Reader(file)
    shape = reader.header.channels, reader.header.codebooks, 0
    nothing = np.empty(shape, code_dtype(reader.header.bits_per_code))
    codes = np.concatenate([nothing, *(codes for _, codes in reader.chunks())], axis=2)
    return reader.header, codes, reader.sample_count
