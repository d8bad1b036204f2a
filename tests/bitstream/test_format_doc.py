"""The hexadecimal examples in docs/reference/format.md equal the code's output, and can be read."""

import io
import re
from pathlib import Path
from zlib import crc32

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitstream_samples import headers, make_codes, make_file
from chirrup.bitstream import (
    BareFormat,
    BitWriter,
    Header,
    Packet,
    TextSender,
    Writer,
    frames_of,
    pack_packet,
    read,
    unpack_packet,
)

DOC = (Path(__file__).parents[2] / "docs" / "reference" / "format.md").read_text(encoding="utf-8")


def hex_blocks(kind: str) -> list[bytes]:
    blocks = []
    for text in re.findall(rf"```{kind}\n(.*?)```", DOC, re.DOTALL):
        data = b""
        for line in text.splitlines():
            offset, _, rest = line.partition("  ")
            assert int(offset, 16) == len(data), line
            data += bytes.fromhex(rest.split(";")[0])
        blocks.append(data)
    return blocks


def test_file_example() -> None:
    header = Header(
        model="demo",
        weights_hash="00112233445566778899aabbccddeeff",
        sample_rate_hz=24000,
        original_sample_rate_hz=44100,
        channels=1,
        original_channels=2,
        channel_mode="downmix",
        codebooks=2,
        bits_per_code=10,
        frame_samples=480,
        delay_samples=240,
        preroll_frames=50,
        bitrate_bps=1000,
        metadata={"title": "hi"},
    )
    codes = np.array([[[1, 2, 1023, -1], [512, 3, -1, -1]]], np.int16)
    file = io.BytesIO()
    with Writer(file, header, chunk_frames=2) as writer:
        writer.write(codes)
        writer.finish(sample_count=3300)
    (data,) = hex_blocks("chirrup-file")
    assert data == file.getvalue()
    read_header, read_codes, sample_count = read(io.BytesIO(data))
    assert (read_header, sample_count) == (header, 3300)
    assert (read_codes == codes).all()


def read_by_the_page(data: bytes) -> list[list[list[int]]]:
    """Return codes by frame, channel and codebook. This reader follows the page, not the code."""

    def number(offset: int, size: int) -> int:
        return int.from_bytes(data[offset : offset + size], "little")

    channels, codebooks, width = data[40], data[43], data[44]
    offset = 12 + number(10, 2) + 4
    frames: list[list[list[int]]] = []
    while True:
        assert data[offset : offset + 2] == b"\xa7\xc1"
        size = number(offset + 9, 2)
        payload = "".join(f"{byte:08b}" for byte in data[offset + 11 : offset + 11 + size])
        assert number(offset + 11 + size, 4) == crc32(data[offset : offset + 11 + size])
        assert number(offset + 2, 4) == len(frames)
        count, depth = number(offset + 6, 2), data[offset + 8]
        if count == 0:
            assert data[offset + 15 + size :] == (15 + size).to_bytes(4, "little") + b"\x8fEND"
            return frames
        depths, position = [depth] * (count * channels), 0
        if depth == 0:
            bits = len(f"{codebooks:b}")
            depths = [int(payload[i * bits : (i + 1) * bits], 2) for i in range(len(depths))]
            position = -(-len(depths) * bits // 8) * 8
        rows = []
        for depth in depths:
            starts = range(position, position + depth * width, width)
            codes = [int(payload[at : at + width], 2) for at in starts]
            rows.append(codes + [-1] * (codebooks - depth))
            position += depth * width
        frames += [rows[i : i + channels] for i in range(0, len(rows), channels)]
        offset += 15 + size


@given(headers, st.integers(0, 40), st.integers(1, 20), st.booleans())
def test_the_page_is_enough_to_write_a_reader(
    header: Header, frames: int, chunk_frames: int, absent: bool
) -> None:
    codes = make_codes(header, frames, absent=absent)
    expected = codes.transpose(2, 0, 1).tolist()
    assert read_by_the_page(make_file(header, codes, chunk_frames)) == expected


def test_packet_examples() -> None:
    packets = [
        Packet(np.array([[1, 2], [512, 3]])),
        Packet(np.array([[1], [512]]), np.array([[1023, 7]])),
    ]
    for data, packet in zip(hex_blocks("chirrup-packet"), packets, strict=True):
        assert data == pack_packet(packet.codes, packet.redundant, 10)
        back = unpack_packet(data, 10, 12)
        assert (back.codes == packet.codes).all()
        if packet.redundant is None:
            assert back.redundant is None
        else:
            assert (back.redundant == packet.redundant).all()


def test_bare_frames_example() -> None:
    layout, writer, sender = BareFormat(2, 10, 24), BitWriter(), TextSender("A")
    frames = [layout.pack(np.array(c), sender.take(4)) for c in ((1, 512), (1023, 1023))]
    data = b"".join(writer.push(frame) for frame in (*frames, layout.end_mark)) + writer.flush()
    assert [data] == hex_blocks("chirrup-bare")
    first, second, end = (layout.unpack(f, 1024) for f in frames_of([data], 24))
    assert first is not None
    assert first.codes.tolist() == [1, 512]
    assert second is not None
    assert second.codes.tolist() == [1023, 1022]
    assert end is None
