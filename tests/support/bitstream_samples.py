"""Headers, codes, files and unusual file objects for tests of the bitstream."""

import io
import struct
from zlib import crc32

import numpy as np
from hypothesis import strategies as st

from chirrup.bitstream import Header, Writer, code_dtype
from chirrup.bitstream.header import ChannelMode
from chirrup.bitstream.record import SYNC


def make_header(
    channels: int = 1,
    codebooks: int = 2,
    bits: int = 10,
    metadata: dict[str, str] | None = None,
    mode: ChannelMode = "separate",
) -> Header:
    return Header(
        model="iris-t1",
        weights_hash="00112233445566778899aabbccddeeff" * 2,
        sample_rate_hz=24000,
        original_sample_rate_hz=44100,
        channels=channels,
        original_channels=channels,
        channel_mode=mode,
        codebooks=codebooks,
        bits_per_code=bits,
        frame_samples=480,
        delay_samples=240,
        preroll_frames=50,
        bitrate_bps=50 * channels * codebooks * bits,
        metadata=metadata or {},
    )


def make_codes(header: Header, frames: int, seed: int = 0, absent: bool = False) -> np.ndarray:
    """Return random codes ``[channels, codebooks, frames]``; ``absent`` adds lost and shortened
    frames."""
    rng = np.random.default_rng(seed)
    shape = header.channels, header.codebooks, frames
    codes = rng.integers(0, 1 << header.bits_per_code, shape)
    if absent:
        depths = rng.integers(0, header.codebooks + 1, (header.channels, 1, frames))
        codes[np.arange(header.codebooks)[:, None] >= depths] = -1
    return codes.astype(code_dtype(header.bits_per_code))


def make_file(
    header: Header, codes: np.ndarray, chunk_frames: int | None = None, count: int | None = None
) -> bytes:
    file = io.BytesIO()
    with Writer(file, header, chunk_frames) as writer:
        writer.write(codes)
        writer.finish(count)
    return file.getvalue()


def mend(data: bytearray) -> bytes:
    """Correct the CRCs of changed records, so that later checks are reached."""
    size = 12 + int.from_bytes(data[10:12], "little")
    struct.pack_into("<I", data, min(size, len(data) - 4), crc32(data[:size]))
    offset = size + 4
    while (offset := data.find(SYNC, offset)) >= 0 and offset + 11 <= len(data):
        end = offset + 11 + struct.unpack_from("<H", data, offset + 9)[0]
        if end + 4 > len(data):
            offset += 1
            continue
        struct.pack_into("<I", data, end, crc32(data[offset:end]))
        offset = end + 4
    return bytes(data)


_channels = st.tuples(st.integers(1, 3), st.just("separate")) | st.just((2, "mid-side"))
headers = st.builds(
    lambda channels, **fields: make_header(channels[0], mode=channels[1], **fields),
    channels=_channels,
    codebooks=st.integers(1, 20),
    bits=st.integers(1, 16),
    metadata=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        max_size=3,
    ),
)


class Pipe:
    """A file that reads and writes a few bytes at a time, without ``seek`` and ``read1``."""

    def __init__(self, data: bytes = b"", most: int = 7) -> None:
        self.data, self.most, self.position = bytearray(data), most, 0

    def read(self, size: int, /) -> bytes:
        part = bytes(self.data[self.position : self.position + min(size, self.most)])
        self.position += len(part)
        return part

    def write(self, data: bytes, /) -> int:
        self.data += data[: self.most]
        return min(len(data), self.most)
