"""Damaged, truncated and hostile files give the intact chunks or a FormatError."""

import io
import os
import struct
import time
import tracemalloc
from collections.abc import Iterator
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream_samples import Pipe, make_codes, make_file, make_header, mend
from chirrup.bitstream import FormatError, Header, Reader, read
from chirrup.bitstream.header import encode_header
from chirrup.bitstream.record import SYNC

HEADER = make_header(codebooks=3, metadata={"title": "x"})
CHUNK_FRAMES = 4
FRAMES = 38
CODES = make_codes(HEADER, FRAMES)
CODES[:, 1:, 9] = -1
CODES[:, :, 10] = -1
DATA = make_file(HEADER, CODES, CHUNK_FRAMES, count=12345)
HEADER_SIZE = len(encode_header(HEADER))
CHUNK_STARTS = range(0, FRAMES, CHUNK_FRAMES)


def chunk_spans() -> Iterator[tuple[int, int]]:
    """Return the first byte and the end of every chunk in DATA."""
    offset = HEADER_SIZE
    for _ in CHUNK_STARTS:
        size = 15 + struct.unpack_from("<H", DATA, offset + 9)[0]
        yield offset, offset + size
        offset += size


SPANS = list(chunk_spans())


def frames_by_number(data: bytes, pipe: bool = False) -> tuple[dict[int, np.ndarray], Reader]:
    """Return every frame that a reader yields, and check that items follow each other."""
    reader = Reader(Pipe(data) if pipe else io.BytesIO(data))
    frames: dict[int, np.ndarray] = {}
    position = 0
    for start, codes in reader.chunks():
        assert start == position
        position += codes.shape[2]
        frames |= {start + i: codes[:, :, i] for i in range(codes.shape[2])}
    return frames, reader


def check_frames(frames: dict[int, np.ndarray], lost_chunks: set[int], end: int = FRAMES) -> None:
    """Check that all frames up to ``end`` exist: -1 in lost chunks, and unchanged in others."""
    assert sorted(frames) == list(range(end))
    for number, codes in frames.items():
        lost = number // CHUNK_FRAMES in lost_chunks
        assert (codes == (-1 if lost else CODES[:, :, number])).all(), number


def test_the_sample_file_is_sound() -> None:
    frames, reader = frames_by_number(DATA)
    check_frames(frames, set())
    assert (reader.damage, reader.sample_count) == ([], 12345)


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_costs_its_chunk_only(mask: int, pipe: bool) -> None:
    for position in range(len(DATA)):
        data = bytearray(DATA)
        data[position] ^= mask
        if position < HEADER_SIZE:
            with pytest.raises(FormatError):
                Reader(Pipe(bytes(data)) if pipe else io.BytesIO(data))
            continue
        frames, reader = frames_by_number(bytes(data), pipe)
        hit = {i for i, (start, end) in enumerate(SPANS) if start <= position < end}
        in_end_record = SPANS[-1][1] <= position < len(DATA) - 8
        # without an end record nobody can know that there was a last chunk
        assert not in_end_record or reader.frames is None
        check_frames(frames, hit)
        assert reader.damage
        assert reader.sample_count == (None if in_end_record else 12345)


@pytest.mark.parametrize("pipe", [False, True])
def test_every_truncation_gives_the_whole_chunks(pipe: bool) -> None:
    for size in range(len(DATA)):
        if size < HEADER_SIZE:
            with pytest.raises(FormatError) as caught:
                Reader(Pipe(DATA[:size]) if pipe else io.BytesIO(DATA[:size]))
            assert caught.value.offset == size
            continue
        frames, reader = frames_by_number(DATA[:size], pipe)
        whole = sum(end <= size for _, end in SPANS)
        check_frames(frames, set(), min(whole * CHUNK_FRAMES, FRAMES))
        assert reader.damage
        if size < len(DATA) - 8:
            assert reader.frames is None
            assert "cut off" in reader.damage[-1]


def test_missing_and_added_bytes_cost_the_chunks_they_touch() -> None:
    foreign = bytes([next(value for value in range(256) if value not in DATA)])
    for position in range(HEADER_SIZE, SPANS[-1][1]):
        hit = {i for i, (start, end) in enumerate(SPANS) if start <= position < end}
        check_frames(frames_by_number(DATA[:position] + DATA[position + 1 :])[0], hit)
        hit = {i for i, (start, end) in enumerate(SPANS) if start < position < end}
        frames, reader = frames_by_number(DATA[:position] + foreign + DATA[position:])
        check_frames(frames, hit)
        assert reader.damage


@given(st.sets(st.integers(0, len(SPANS) - 1)), st.booleans())
def test_removed_chunks_leave_gaps_of_their_length(removed: set[int], zeroed: bool) -> None:
    parts = [DATA[:HEADER_SIZE]]
    for i, (start, end) in enumerate(SPANS):
        parts.append(DATA[start:end] if i not in removed else bytes(end - start) * zeroed)
    frames, reader = frames_by_number(b"".join(parts) + DATA[SPANS[-1][1] :])
    check_frames(frames, removed)
    assert bool(reader.damage) == bool(removed)


def test_repeated_and_swapped_chunks_do_not_turn_time_back() -> None:
    parts = [DATA[start:end] for start, end in SPANS]
    head, tail = DATA[:HEADER_SIZE], DATA[SPANS[-1][1] :]
    check_frames(frames_by_number(head + b"".join(p + p for p in parts) + tail)[0], set())
    parts[2], parts[3] = parts[3], parts[2]
    check_frames(frames_by_number(head + b"".join(parts) + tail)[0], {2})


def test_seeking_into_damage_gives_a_gap_and_then_the_truth() -> None:
    data = bytearray(make_file(HEADER, CODES, 1))
    reader = Reader(io.BytesIO(data))
    assert reader._end is not None
    frame, offset = reader._end.index[2]
    data[offset + 12] ^= 1
    first, second = list(Reader(io.BytesIO(data)).chunks(frame))[:2]
    assert first[0] == frame
    assert (first[1] == -1).all()
    assert (second[1] == CODES[:, :, second[0] : second[0] + 1]).all()


def outcome(data: bytes) -> None:
    """Read a file in both ways. Only a FormatError of the header may be raised."""
    for file in (io.BytesIO(data), Pipe(data, 1000)):
        try:
            reader = Reader(file)
        except FormatError:
            continue
        frames = 0
        shape = reader.header.channels, reader.header.codebooks
        for _, codes in reader.chunks():
            assert codes.shape[:2] == shape
            frames += codes.shape[2]
        assert frames <= len(data) * 8
        assert len(reader.damage) <= 100


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    outcome(data)
    outcome(DATA[:8] + data)
    outcome(DATA[:HEADER_SIZE] + data)
    outcome(DATA[:HEADER_SIZE] + SYNC + data)


def test_fuzz() -> None:
    """Random changes to intact files, half of them with corrected CRCs.

    CHIRRUP_FUZZ_CASES=1000000 runs more cases.
    """
    rng = np.random.default_rng(7)
    shapes = [(1, 1, 16), (1, 3, 10), (2, 20, 9), (3, 5, 1)]
    files = [
        make_file(header, make_codes(header, 30, absent=absent), 7)
        for header in (make_header(*shape) for shape in shapes)
        for absent in (False, True)
    ]
    for case in range(int(os.environ.get("CHIRRUP_FUZZ_CASES", "3000"))):
        data = bytearray(files[case % len(files)])
        for _ in range(rng.integers(1, 6)):
            at, size = int(rng.integers(len(data) + 1)), int(rng.integers(1, 12))
            match rng.integers(4):
                case 0:
                    data[at : at + size] = rng.bytes(size)
                case 1:
                    del data[at : at + size]
                case 2:
                    data[at:at] = rng.bytes(size)
                case _:
                    start = int(rng.integers(len(data) + 1))
                    data[at:at] = data[start : start + 4 * size]
        outcome(mend(data) if case % 2 and len(data) > 20 else bytes(data))


def record(start: int, frames: int, codebooks: int, payload: bytes, size: int = -1) -> bytes:
    size = len(payload) if size < 0 else size
    data = struct.pack("<2sIHBH", SYNC, start, frames, codebooks, size) + payload
    return data + struct.pack("<I", crc32(data))


def hostile_files() -> dict[str, bytes]:
    wide = encode_header(make_header(16, 128, 16))
    narrow = encode_header(make_header(1, 128, 1))
    plain = encode_header(HEADER)
    entries = b"".join(struct.pack("<IQ", 0, 2**63 + i) for i in range(4096))
    end = record(2**32 - 1, 0, 0, bytes(8) + entries)
    false = struct.pack("<2sIHBH", SYNC, 0, 17476, 3, 65535)
    return {
        "header claims 64 KiB": plain[:10] + b"\xff\xff" + plain[12:],
        "far frame": wide + record(2**32 - 2, 1, 1, bytes(32)),
        "far end": wide + record(2**32 - 1, 0, 0, bytes(8)),
        "all lost": narrow + record(0, 65535, 0, bytes(65535)),
        "dense": narrow + b"".join(record(2048 * i, 2048, 1, bytes(256)) for i in range(20)),
        "bad index": plain + end + struct.pack("<I4s", len(end), b"\x8fEND"),
        "bad footer": plain + struct.pack("<I4s", 2**32 - 1, b"\x8fEND"),
        "overlapping false records": plain + false * 100_000,
        "markers": plain + SYNC * 30_000,
        "half markers": plain + SYNC[:1] * 300_000,
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_files_cost_little_time_and_memory(name: str) -> None:
    data = hostile_files()[name]
    begin = time.perf_counter()
    outcome(data)
    assert time.perf_counter() - begin < 5
    tracemalloc.start()
    outcome(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000 + 4 * len(data)


def test_a_forged_gap_is_cut_short_and_said() -> None:
    far = 2**32 - 100
    data = encode_header(HEADER) + record(far, 1, 1, b"\x00\x00")
    reader = Reader(io.BytesIO(data))
    chunks = list(reader.chunks())
    assert chunks[-1][0] == far
    assert sum(codes.shape[2] for _, codes in chunks[:-1]) < 8 * len(data)
    assert any("left out" in note for note in reader.damage)


def test_read_marks_what_is_lost() -> None:
    data = bytearray(DATA)
    data[SPANS[1][0] + 12] ^= 1
    header, codes, count = read(io.BytesIO(data))
    expected = CODES.copy()
    expected[:, :, 4:8] = -1
    assert isinstance(header, Header)
    assert (codes == expected).all()
    assert count == 12345
