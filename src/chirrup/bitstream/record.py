"""Records of a ``.chirrup`` file: chunks of frames, and one end record.

    sync (2 bytes) | start frame u32 | frames u16 | depth u8 | payload size u16 | payload | CRC-32

The depth of a frame is the number of its codebooks that are present, from the first on. The end
record has no frames. Its start frame is the number of frames in the file, and its payload holds the
exact number of samples and the index.
"""

import struct
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from chirrup.bitstream.bits import code_dtype, pack, packed_size, unpack
from chirrup.bitstream.header import UNKNOWN_COUNT, Header
from chirrup.errors import FormatError

SYNC: Final = b"\xa7\xc1"
MAX_FRAME: Final = 0xFFFFFFFF
MAX_INDEX: Final = 4096

_MAX_PAYLOAD = 0xFFFF
_MAX_CHUNK_CODES = 1 << 18  # with absent codes: limits the memory of a chunk
_MIXED = 0  # instead of a depth: the payload starts with the depth of each frame
_DEFAULT_CHUNK_S = 2.0

_HEAD = struct.Struct("<2sIHBH")
_COUNT = struct.Struct("<Q")
_ENTRY = struct.Struct("<IQ")
_CRC = struct.Struct("<I")
_FOOTER = struct.Struct("<I4s")
_FOOTER_MAGIC = b"\x8fEND"

HEAD_SIZE: Final = _HEAD.size
FOOTER_SIZE: Final = _FOOTER.size


@dataclass(frozen=True)
class Chunk:
    """Codes ``[channels, codebooks, frames]`` from a frame number on; -1 is absent."""

    start_frame: int
    codes: NDArray[np.integer]


@dataclass(frozen=True)
class End:
    """The last record of a file.

    Attributes:
        frames: number of frames in the file.
        sample_count: samples per channel at the original rate, or None if it is not known.
        index: start frame and byte offset of some chunks.
    """

    frames: int
    sample_count: int | None
    index: list[tuple[int, int]]


def frame_bits(header: Header) -> tuple[int, int]:
    """Return the fewest and the most bits that one frame can take in a chunk."""
    depth, bits = header.codebooks.bit_length(), header.bits_per_code
    return header.channels * min(depth, bits), header.channels * (depth + header.codebooks * bits)


def max_chunk_frames(header: Header) -> int:
    """Return the number of frames that always fit in a chunk."""
    by_payload = (_MAX_PAYLOAD - 2) * 8 // frame_bits(header)[1]  # two paddings of a byte
    by_codes = _MAX_CHUNK_CODES // (header.channels * header.codebooks)
    return min(by_payload, by_codes, 0xFFFF)


def default_chunk_frames(header: Header) -> int:
    """Return the number of frames in two seconds, or fewer if they do not fit in a chunk."""
    frames = round(_DEFAULT_CHUNK_S * header.sample_rate_hz / header.frame_samples)
    return max(1, min(frames, max_chunk_frames(header)))


def encode_chunk(header: Header, chunk: Chunk) -> bytes:
    """Encode a chunk, in which only the last codebooks of a frame may be absent."""
    codes = chunk.codes.transpose(2, 0, 1)  # [frames, channels, codebooks], the order in the file
    present = codes >= 0
    depths = present.sum(axis=2)
    payload = pack(codes[present], header.bits_per_code)
    depth = int(depths[0, 0])
    if depth == 0 or (depths != depth).any():
        depth = _MIXED
        payload = pack(depths, header.codebooks.bit_length()) + payload
    return _encode(chunk.start_frame, codes.shape[0], depth, payload)


def encode_end(end: End) -> bytes:
    """Encode the end record and the footer, which gives its size."""
    count = UNKNOWN_COUNT if end.sample_count is None else end.sample_count
    index = b"".join(_ENTRY.pack(*entry) for entry in end.index)
    record = _encode(end.frames, 0, 0, _COUNT.pack(count) + index)
    return record + encode_footer(len(record))


def encode_footer(end_size: int) -> bytes:
    """Encode the last bytes of a file: the size of the end record, and a magic."""
    return _FOOTER.pack(end_size, _FOOTER_MAGIC)


def decode_footer(data: bytes) -> int | None:
    """Return the size of the end record, or None if ``data`` is not a footer."""
    if len(data) != _FOOTER.size:
        return None
    size, magic = _FOOTER.unpack(data)
    return size if magic == _FOOTER_MAGIC else None


def record_size(header: Header, head: bytes) -> int | None:
    """Return the size in bytes of the record that starts with ``head``, or None if none does.

    The size of the payload must agree with the other fields, so a damaged head is seldom mistaken
    for the start of a long record.

    Args:
        head: `HEAD_SIZE` bytes.
    """
    sync, start_frame, frames, depth, payload_size = _HEAD.unpack(head)
    depths = frames * header.channels
    if sync != SYNC or start_frame + frames > MAX_FRAME:
        return None
    if depth > header.codebooks or depths * header.codebooks > _MAX_CHUNK_CODES:
        return None
    if frames == 0:
        entries, rest = divmod(payload_size - _COUNT.size, _ENTRY.size)
        sound = depth == 0 and rest == 0 and 0 <= entries <= MAX_INDEX
    elif depth == _MIXED:
        least = packed_size(depths, header.codebooks.bit_length())
        most = least + packed_size(depths * header.codebooks, header.bits_per_code)
        sound = least <= payload_size <= most
    else:
        sound = payload_size == packed_size(depths * depth, header.bits_per_code)
    return _HEAD.size + payload_size + _CRC.size if sound else None


def decode_record(header: Header, data: bytes) -> Chunk | End | None:
    """Decode a record of `record_size` bytes; return None if it is damaged."""
    body = data[: -_CRC.size]
    if crc32(body) != _CRC.unpack_from(data, len(body))[0]:
        return None
    _, start_frame, frames, depth, _ = _HEAD.unpack_from(body)
    if frames == 0:
        (count,) = _COUNT.unpack_from(body, _HEAD.size)
        index = list(_ENTRY.iter_unpack(body[_HEAD.size + _COUNT.size :]))
        return End(start_frame, None if count == UNKNOWN_COUNT else count, index)
    try:
        return Chunk(start_frame, _decode_codes(header, frames, depth, body[_HEAD.size :]))
    except FormatError:
        return None


def _encode(start_frame: int, frames: int, depth: int, payload: bytes) -> bytes:
    data = _HEAD.pack(SYNC, start_frame, frames, depth, len(payload)) + payload
    return data + _CRC.pack(crc32(data))


def _decode_codes(header: Header, frames: int, depth: int, payload: bytes) -> NDArray[np.integer]:
    """Decode codes ``[channels, codebooks, frames]``; raise FormatError if they are damaged."""
    depths = np.full((frames, header.channels), depth, np.uint16)
    start = 0
    if depth == _MIXED:
        depth_bits = header.codebooks.bit_length()
        depths = unpack(payload, depth_bits, depths.size).reshape(depths.shape)
        start = packed_size(depths.size, depth_bits)
    if depths.max() > header.codebooks:
        raise FormatError("more codebooks than the header has", 0)
    present = _levels(depths, header.codebooks)
    count = int(depths.sum())
    if start + packed_size(count, header.bits_per_code) != len(payload):
        raise FormatError("the payload has another size than its codes", start)
    codes = np.full(present.shape, -1, code_dtype(header.bits_per_code))
    codes[present] = unpack(payload, header.bits_per_code, count, start)
    return np.ascontiguousarray(codes.transpose(1, 2, 0))


def _levels(depths: NDArray[np.integer], codebooks: int) -> NDArray[np.bool_]:
    """Return whether each code ``[frames, channels, codebooks]`` is present."""
    return np.arange(codebooks) < depths[..., None]
