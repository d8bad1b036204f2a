"""Writing of a ``.chirrup`` file to a file or pipe, without seeking and in constant memory."""

from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from chirrup.bitstream.bits import code_dtype
from chirrup.bitstream.header import Header, encode_header
from chirrup.bitstream.record import (
    MAX_FRAME,
    MAX_INDEX,
    Chunk,
    End,
    default_chunk_frames,
    encode_chunk,
    encode_end,
    max_chunk_frames,
)

_INDEX_EVERY_CHUNKS = 8


class Writable(Protocol):
    """A binary file. ``write`` may write a part of the data if it returns the number of bytes."""

    def write(self, data: bytes, /) -> int | None: ...


class Writer:
    """A writer of codes, chunk by chunk, which `finish` completes.

    In a ``with`` statement, the writer finishes the file at the end. If an exception occurs, the
    file stays cut off after its last whole chunk. The file object is flushed after each chunk and
    stays open.

    >>> with Writer(file, header) as writer:
    ...     writer.write(codes)

    Args:
        file: a binary file.
        header: the header of the file.
        chunk_frames: frames in a chunk. A reader loses a chunk if one of its bytes is damaged, and
            waits for a whole chunk on a live pipe. None is two seconds.

    Raises:
        ValueError: ``chunk_frames`` is out of range.
    """

    def __init__(self, file: Writable, header: Header, chunk_frames: int | None = None) -> None:
        chunk_frames = default_chunk_frames(header) if chunk_frames is None else chunk_frames
        if not 1 <= chunk_frames <= max_chunk_frames(header):
            raise ValueError(
                f"chunk_frames is {chunk_frames}, must be 1 to {max_chunk_frames(header)} "
                "for codes of this shape"
            )
        self.header = header
        self._file = file
        self._pending = np.empty(
            (header.channels, header.codebooks, chunk_frames), code_dtype(header.bits_per_code)
        )
        self._pending_frames = 0
        self._frames = 0  # in complete chunks
        self._chunks = 0
        self._index: list[tuple[int, int]] = []
        self._index_every = _INDEX_EVERY_CHUNKS
        self._offset = 0
        self._finished = False
        self._put(encode_header(header))

    def write(self, codes: NDArray[np.integer]) -> None:
        """Append frames.

        Args:
            codes: ``int [channels, codebooks, any number of frames]``. -1 is absent: the last
                codebooks of a frame at a lower bitrate, or all codebooks of a lost frame.

        Raises:
            ValueError: the shape or a code does not fit the header, or the file is finished. No
                frame of the call is then written.
        """
        if self._finished:
            raise ValueError("the file is finished: open another writer")
        _check(codes, self.header)
        if self._frames + self._pending_frames + codes.shape[2] > MAX_FRAME:
            raise ValueError(f"a file holds at most {MAX_FRAME} frames: start another one")
        while codes.shape[2]:
            room = self._pending[:, :, self._pending_frames :]
            frames = min(room.shape[2], codes.shape[2])
            room[:, :, :frames] = codes[:, :, :frames]
            codes = codes[:, :, frames:]
            self._pending_frames += frames
            if self._pending_frames == self._pending.shape[2]:
                self._put_chunk()

    def finish(self, sample_count: int | None = None) -> None:
        """Write pending frames, the number of samples and the index. Further calls do nothing.

        Args:
            sample_count: samples per channel at the original rate. None is the number in the
                header.

        Raises:
            ValueError: ``sample_count`` is out of range.
        """
        if self._finished:
            return
        if sample_count is not None and not 0 <= sample_count < 2**63:
            raise ValueError(f"sample_count is {sample_count}, must be 0 to 2**63 - 1 or None")
        if self._pending_frames:
            self._put_chunk()
        count = self.header.sample_count if sample_count is None else sample_count
        self._put(encode_end(End(self._frames, count, self._index)))
        self._finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()

    def _put_chunk(self) -> None:
        self._add_to_index()
        codes = self._pending[:, :, : self._pending_frames]
        self._put(encode_chunk(self.header, Chunk(self._frames, codes)))
        self._frames += self._pending_frames
        self._pending_frames = 0
        self._chunks += 1

    def _add_to_index(self) -> None:
        """Add every eighth chunk except the first to the index; halve the index if it is full."""
        if self._chunks == 0 or self._chunks % self._index_every:
            return
        self._index.append((self._frames, self._offset))
        if len(self._index) == MAX_INDEX:
            self._index = self._index[1::2]
            self._index_every *= 2

    def _put(self, data: bytes) -> None:
        self._offset += len(data)
        while data:
            written = self._file.write(data)
            data = data[len(data) if written is None else written :]
        getattr(self._file, "flush", lambda: None)()


def _check(codes: NDArray[np.integer], header: Header) -> None:
    """Raise ValueError if codes do not fit the header."""
    shape = (header.channels, header.codebooks)
    if codes.ndim != 3 or codes.shape[:2] != shape:
        raise ValueError(f"codes must be [{shape[0]}, {shape[1]}, frames], not {codes.shape}")
    if not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers, not {codes.dtype}")
    if codes.size and (codes.min() < -1 or codes.max() >= 1 << header.bits_per_code):
        raise ValueError(
            f"codes from {codes.min()} to {codes.max()} do not fit in {header.bits_per_code} bits: "
            f"use 0 to {(1 << header.bits_per_code) - 1}, or -1 for absent codes"
        )
    if ((codes[:, :-1] < 0) & (codes[:, 1:] >= 0)).any():
        raise ValueError(
            "only the last codebooks of a frame may be absent (-1): "
            "a residual quantizer needs all codebooks before each codebook that it uses"
        )
