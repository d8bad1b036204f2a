"""Intact files: written and read in any pieces, with any file object, and from any frame on."""

import dataclasses
import io
import tracemalloc
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitstream_samples import Pipe, headers, make_codes, make_file, make_header
from chirrup.bitstream import (
    FormatError,
    Header,
    Reader,
    Writer,
    default_chunk_frames,
    max_chunk_frames,
    read,
)
from chirrup.bitstream import header as header_module
from chirrup.bitstream import writer as writer_module
from chirrup.bitstream.header import encode_header


@given(headers, st.integers(0, 70), st.integers(1, 30), st.booleans(), st.data())
def test_round_trip_in_any_pieces(
    header: Header, frames: int, chunk_frames: int, absent: bool, data: st.DataObject
) -> None:
    codes = make_codes(header, frames, absent=absent)
    chunk_frames = min(chunk_frames, max_chunk_frames(header))
    count = data.draw(st.none() | st.integers(0, 2**63 - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, frames), max_size=5)))
    pipe = Pipe(most=data.draw(st.integers(1, 1000)))
    with Writer(pipe, header, chunk_frames) as writer:
        for piece in np.split(codes, cuts, axis=2):
            writer.write(piece)
        writer.finish(count)
    assert bytes(pipe.data) == make_file(header, codes, chunk_frames, count)

    reader = Reader(pipe)
    assert reader.header == header
    chunks = list(reader.chunks())
    assert [start for start, _ in chunks] == list(range(0, frames, chunk_frames))
    back = np.concatenate([codes[:, :, :0], *(part for _, part in chunks)], axis=2)
    assert back.dtype == codes.dtype
    assert (back == codes).all()
    assert (reader.frames, reader.sample_count, reader.damage) == (frames, count, [])


@given(headers, st.integers(0, 120), st.integers(1, 5), st.integers(0, 130), st.booleans())
def test_seek_equals_slice(
    header: Header, frames: int, chunk_frames: int, start: int, with_index: bool
) -> None:
    codes = make_codes(header, frames)
    data = make_file(header, codes, chunk_frames)
    reader = Reader(io.BytesIO(data if with_index else data + b"?"))
    assert reader.frames == (frames if with_index else None)
    chunks = list(reader.chunks(start))
    assert all((part == codes[:, :, at : at + part.shape[2]]).all() for at, part in chunks)
    assert sum(part.shape[2] for _, part in chunks) == max(0, frames - start)
    assert not chunks or chunks[0][0] == start
    assert reader.frames == frames


def test_seek_reads_only_the_neighbourhood() -> None:
    class Counting(io.BytesIO):
        total = 0

        def read1(self, size: int | None = -1, /) -> bytes:
            data = super().read1(size)
            self.total += len(data)
            return data

    header = make_header(codebooks=12)
    codes = make_codes(header, 180_000)
    file = Counting(make_file(header, codes))
    reader = Reader(file)
    start, part = next(reader.chunks(123_456))
    assert start == 123_456
    assert (part == codes[:, :, start : start + part.shape[2]]).all()
    assert file.tell() > 1_000_000
    assert file.total < 300_000


def test_a_full_index_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_INDEX", 4)
    header = make_header()
    codes = make_codes(header, 999)
    reader = Reader(io.BytesIO(make_file(header, codes, chunk_frames=1)))
    assert reader._end is not None
    assert [frame for frame, _ in reader._end.index] == [256, 512, 768]
    for start in (0, 255, 256, 700, 998):
        frame, part = next(reader.chunks(start))
        assert frame == start
        assert (part == codes[:, :, start : start + 1]).all()


def test_file_may_start_anywhere_in_the_object() -> None:
    header = make_header()
    codes = make_codes(header, 500)
    file = io.BytesIO(b"before" + make_file(header, codes, 10))
    file.seek(6)
    reader = Reader(file)
    assert reader.frames == 500
    assert (next(reader.chunks(333))[1][:, :, 0] == codes[:, :, 333]).all()


def test_sample_count_at_the_end_wins_over_the_header() -> None:
    header = dataclasses.replace(make_header(), sample_count=1000)
    codes = make_codes(header, 5)
    assert read(io.BytesIO(make_file(header, codes)))[2] == 1000
    assert read(io.BytesIO(make_file(header, codes, count=999)))[2] == 999


def test_an_exception_leaves_the_file_cut_off() -> None:
    file = io.BytesIO()
    header = make_header()

    def write_and_fail() -> None:
        with Writer(file, header, 4) as writer:
            writer.write(make_codes(header, 10))
            writer.write(make_codes(header, 1) + 1024)

    with pytest.raises(ValueError, match="fit"):
        write_and_fail()
    reader = Reader(io.BytesIO(file.getvalue()))
    assert [at for at, _ in reader.chunks()] == [0, 4]
    assert reader.damage == ["the file is cut off at 0.15 s: frames from 8 on are missing"]


def test_a_pipe_is_read_once() -> None:
    reader = Reader(Pipe(make_file(make_header(), make_codes(make_header(), 5))))
    list(reader.chunks())
    with pytest.raises(io.UnsupportedOperation, match="once"):
        list(reader.chunks())


def test_a_live_pipe_is_not_held_up() -> None:
    """A chunk can be read as soon as its last byte has arrived."""
    header = make_header()
    codes = make_codes(header, 6)
    pipe = Pipe(most=10**6)
    writer = Writer(pipe, header, 2)
    reader = Reader(pipe)
    chunks = reader.chunks()
    for start in (0, 2, 4):
        writer.write(codes[:, :, start : start + 2])
        assert next(chunks)[0] == start


@settings(max_examples=20)
@given(headers, st.integers(0, 2**40))
def test_newer_minor_version_is_read_and_newer_major_refused(header: Header, extra: int) -> None:
    data = encode_header(header)
    body = data[12:-4] + extra.to_bytes(8, "little")
    newer = data[:9] + b"\x63" + len(body).to_bytes(2, "little") + body
    newer += crc32(newer).to_bytes(4, "little")
    assert Reader(io.BytesIO(newer)).header == header
    with pytest.raises(FormatError, match="version 2") as caught:
        Reader(io.BytesIO(data[:8] + b"\x02" + data[9:]))
    assert caught.value.offset == 8


def with_byte(data: bytes, offset: int, value: int) -> bytes:
    """Return a header with one byte changed and a correct CRC-32."""
    body = data[:offset] + bytes([value]) + data[offset + 1 : -4]
    return body + crc32(body).to_bytes(4, "little")


def test_a_reader_refuses_channel_modes_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encode_header(make_header())
    assert data[42] == 0
    with pytest.raises(FormatError, match="channel mode 4 is not known"):
        Reader(io.BytesIO(with_byte(data, 42, 4)))
    newer = encode_header(make_header(2, mode="mid-side"))
    monkeypatch.setattr(header_module, "_CHANNEL_MODES", ("separate", "joint", "downmix"))
    with pytest.raises(FormatError, match="channel mode 3 is not known"):  # a reader of 1.0
        Reader(io.BytesIO(newer))


def test_only_mid_and_side_say_that_they_are_newer() -> None:
    separate = encode_header(make_header(2))
    newer = encode_header(make_header(2, mode="mid-side"))
    assert (separate[8:10], newer[8:10]) == (b"\x01\x00", b"\x01\x01")
    assert with_byte(with_byte(separate, 9, 1), 42, 3) == newer
    assert Reader(io.BytesIO(with_byte(newer, 9, 0))).header.channel_mode == "mid-side"
    for channels in (1, 3):
        data = with_byte(encode_header(make_header(channels)), 42, 3)
        with pytest.raises(FormatError, match="needs 2 original channels"):
            Reader(io.BytesIO(data))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codebooks": 0}, "codebooks is 0"),
        ({"codebooks": 129}, "codebooks is 129"),
        ({"bits_per_code": 17}, "bits_per_code is 17"),
        ({"sample_rate_hz": 24000.0}, "whole number"),
        ({"sample_count": -1}, "sample_count is -1"),
        ({"channels": 2}, "1 coded channels, not 2"),
        ({"channel_mode": "downmix", "original_channels": 2, "channels": 2}, "1 coded"),
        ({"channel_mode": "quadro"}, "quadro"),
        ({"channel_mode": "mid-side"}, "needs 2 original channels, not 1"),
        ({"channel_mode": "mid-side", "original_channels": 2}, "2 coded channels, not 1"),
        ({"weights_hash": "abc"}, "SHA-256"),
        ({"weights_hash": "x" * 64}, "SHA-256"),
        ({"model": ""}, "model"),
        ({"model": "m" * 256}, "model"),
        ({"metadata": {"title": "x" * 65536}}, "metadata takes 65545 bytes"),
        ({"metadata": {str(i): "xxxxx" for i in range(9000)}}, "metadata takes"),
        ({"metadata": {"lone surrogate": "\ud800"}}, "surrogates"),
    ],
)
def test_header_refuses_nonsense(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(make_header(), **change)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((1, 3, 5), np.int16), "must be"),
        (np.zeros((2, 5), np.int16), "must be"),
        (np.zeros((1, 2, 5), np.float32), "integers"),
        (np.full((1, 2, 5), 1024), "fit"),
        (np.full((1, 2, 5), -2), "fit"),
        (np.array([[[-1], [3]]]), "last codebooks"),
    ],
)
def test_writer_refuses_codes_that_do_not_fit(codes: np.ndarray, words: str) -> None:
    writer = Writer(io.BytesIO(), make_header())
    with pytest.raises(ValueError, match=words):
        writer.write(codes)


def test_writer_refuses_misuse() -> None:
    header = make_header()
    with pytest.raises(ValueError, match="chunk_frames"):
        Writer(io.BytesIO(), header, 0)
    writer = Writer(io.BytesIO(), header)
    with pytest.raises(ValueError, match="sample_count"):
        writer.finish(-1)
    writer.finish()
    writer.finish()
    with pytest.raises(ValueError, match="finished"):
        writer.write(make_codes(header, 1))


def test_frame_at_counts_the_delay_and_the_rate() -> None:
    header = make_header()  # 44.1 kHz in 24 kHz frames of 480, delay 240
    assert [header.frame_at(n) for n in (0, 441, 442, 44100)] == [0, 1, 1, 50]


@given(headers)
def test_the_longest_chunk_fits_its_fields(header: Header) -> None:
    frames = max_chunk_frames(header)
    assert 1 <= default_chunk_frames(header) <= frames
    codes = make_codes(header, frames)
    codes[:, :, 0] = -1  # needs a depth map
    reader = Reader(io.BytesIO(make_file(header, codes, frames)))
    assert sum(1 for _ in reader.chunks()) == 1
    assert reader.damage == []


def test_an_hour_needs_constant_memory() -> None:
    header = make_header(codebooks=12)
    codes = make_codes(header, 180_000)
    data = make_file(header, codes)
    tracemalloc.start()
    frames = sum(part.shape[2] for _, part in Reader(io.BytesIO(data)).chunks())
    peak = tracemalloc.get_traced_memory()[1] - len(data)  # BytesIO makes a copy
    tracemalloc.stop()
    assert frames == 180_000
    assert peak < 1_000_000
