"""Pipes with short chunks: each chunk passes at once, and the codes equal a file's.

Delays are counted in samples that went in and came out, not in time.
"""

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import chirrup
from chirrup.bitstream import Reader, read
from chirrup.codec import Codec
from chirrup.files import FileError, decode_file, encode_file
from chirrup.resampling import length_at
from file_samples import Pipe, noise

PIECE_SAMPLES = 480  # 20 ms at 24 kHz
RESAMPLING_SECONDS = 0.05


class Fed(io.RawIOBase):
    """A pipe that gives one piece a read. Before each read, it notes the size of the output."""

    def __init__(self, pieces: list[bytes], target: io.BytesIO) -> None:
        self.pieces, self.target = iter(pieces), target
        self.sizes: list[int] = []

    def read(self, size: int = -1) -> bytes:
        self.sizes.append(len(self.target.getvalue()))
        piece = next(self.pieces, b"")
        assert 0 <= len(piece) <= size
        return piece


@pytest.fixture(scope="module", params=["model_folder", "focal-small"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """A model with chunks of one frame, and one with longer chunks and another input rate."""
    own = request.param == "model_folder"
    return chirrup.load(request.getfixturevalue("model_folder") if own else request.param)


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def records(coded: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number of frames up to the end of each chunk, and the offset of that end."""
    file = io.BytesIO(coded)
    reader = Reader(file)
    for frame, codes in reader.chunks():
        yield frame + codes.shape[2], reader._source.offset


@pytest.mark.parametrize("rate_hz", [24_000, 44_100])
@pytest.mark.parametrize("chunk_ms", [1, 100])
def test_each_chunk_passes_at_once(codec: Codec, rate_hz: int, chunk_ms: int) -> None:
    """The encoder is late by a chunk, and the decoder by a chunk of the model and its delay."""
    samples = 2 * rate_hz
    piece = rate_hz // 100
    data = np.rint(noise(samples) * 32768).astype("<i2").tobytes()
    coded, decoded = io.BytesIO(), io.BytesIO()
    source = Fed(pieces_of(data, 2 * piece), coded)
    encode_file(codec, source, coded, raw=f"s16@{rate_hz}", chunk_ms=chunk_ms)
    ends = list(records(coded.getvalue()))
    chunk_frames = codec.spec.frames_within(chunk_ms)
    assert ends[0][0] == chunk_frames
    resampling = RESAMPLING_SECONDS if rate_hz != codec.input_rate_hz else 0
    for reads, size in enumerate(source.sizes[:-1]):
        frames = max((end for end, offset in ends if offset <= size), default=0)
        heard = (reads * piece / rate_hz - resampling) * codec.frame_rate_hz
        assert frames >= heard // chunk_frames * chunk_frames

    places = [0, *(offset for _, offset in ends)]
    parts = [coded.getvalue()[start:end] for start, end in pairwise(places)]
    source = Fed([*parts, coded.getvalue()[places[-1] :]], decoded)
    decode_file(codec, source, decoded, raw=True)
    assert len(decoded.getvalue()) == 2 * samples
    late = codec.delay_samples + codec.chunk_frames * codec.frame_samples + 2
    late = length_at(late, codec.sample_rate_hz, rate_hz) + 2
    late += round(RESAMPLING_SECONDS * rate_hz) if rate_hz != codec.sample_rate_hz else 0
    for (end, _), size in zip(ends, source.sizes[1:]):
        whole = end // codec.chunk_frames * codec.chunk_frames
        assert size / 2 >= whole * codec.frame_samples * rate_hz / codec.sample_rate_hz - late


@pytest.mark.parametrize("chunk_ms", [20, 90, 1e6])
def test_codes_do_not_depend_on_the_chunks(codec: Codec, chunk_ms: float) -> None:
    data = np.rint(noise(90_001) * 32768).astype("<i2").tobytes()
    usual, short = io.BytesIO(), io.BytesIO()
    encode_file(codec, Pipe(data), usual, raw="s16@24000")
    encode_file(codec, Pipe(data, piece=77), short, raw="s16@24000", chunk_ms=chunk_ms)
    usual.seek(0)
    short.seek(0)
    (_, codes, count), (_, others, other_count) = read(usual), read(short)
    assert np.array_equal(codes, others)
    assert count == other_count == 90_001


@pytest.mark.parametrize("chunk_ms", [0, -20, float("nan"), float("inf")])
def test_a_chunk_needs_a_duration(model_folder: Path, chunk_ms: float) -> None:
    with pytest.raises(FileError, match="ms is not possible"):
        encode_file(chirrup.load(model_folder), Pipe(b""), io.BytesIO(), chunk_ms=chunk_ms)


def test_two_commands_play_speech_that_is_still_spoken() -> None:
    """The first sound comes within 80 ms of audio, and all but 60 ms of it while the pipe is
    open."""
    audio = np.rint(noise(24_000) * 32768).astype("<i2").tobytes()
    command = [sys.executable, "-m", "chirrup"]
    line = ["encode", "-", "-", "--raw", "s16@24000", "--chunk", "20"]
    with (
        subprocess.Popen([*command, *line], stdin=-1, stdout=-1, bufsize=0) as encoder,
        subprocess.Popen(
            [*command, "decode", "-", "-", "--raw"], stdin=encoder.stdout, stdout=-1, bufsize=0
        ) as decoder,
    ):
        assert encoder.stdin is not None
        assert encoder.stdout is not None
        assert decoder.stdout is not None
        encoder.stdout.close()
        watchdog = threading.Timer(60, lambda: (encoder.kill(), decoder.kill()))
        watchdog.start()
        written = read_bytes = 0
        for milliseconds, heard in ((80, 1), (500, 440), (1000, 940)):
            while written < 48 * milliseconds:
                encoder.stdin.write(audio[written : written + 2 * PIECE_SAMPLES])
                written += 2 * PIECE_SAMPLES
            while read_bytes < 48 * heard:
                data = decoder.stdout.read(1 << 16)
                assert data, "the decoder has ended"
                read_bytes += len(data)
        encoder.stdin.close()
        while data := decoder.stdout.read(1 << 16):
            read_bytes += len(data)
        watchdog.cancel()
        assert (encoder.wait(30), decoder.wait(30)) == (0, 0)
    assert read_bytes == len(audio)
