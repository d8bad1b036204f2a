"""Decoding of a part of a ``.chirrup`` file."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.cli.console import parse_time
from chirrup.codec import Codec
from chirrup.errors import UsageError
from chirrup.files import FileError, decode_file, encode_file
from file_samples import Pipe, noise

RATE, SECONDS = 44_100, 9


@pytest.fixture(
    scope="module",
    params=["model_folder", "iris-t2", "lrac-t1", "lrac-t2", "spectro-small", "tq-small"],
)
def codec(request: pytest.FixtureRequest) -> Codec:
    own = request.param == "model_folder"
    return chirrup.load(request.getfixturevalue("model_folder") if own else request.param)


@pytest.fixture(scope="module")
def talk(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("excerpt")
    soundfile.write(folder / "a.wav", noise(RATE * SECONDS), RATE)
    encode_file(codec, folder / "a.wav", folder / "a.chirrup")
    return folder / "a.chirrup"


def decoded(
    codec: Codec, talk: Path, rate: int, start: float = 0, end: float | None = None
) -> np.ndarray:
    target = io.BytesIO()
    decode_file(
        codec, talk, target, rate_hz=rate, floating=True, start_seconds=start, end_seconds=end
    )
    return soundfile.read(io.BytesIO(target.getvalue()), dtype="float32")[0]


@pytest.mark.parametrize("rate", [RATE, 16_000])
@pytest.mark.parametrize(
    "part", [(7.123, 8.0), (7.5, None), (0, 0.25), (0.01, 30), (8.99, float("inf"))]
)
def test_a_part_is_what_it_is_in_the_whole(
    codec: Codec, talk: Path, rate: int, part: tuple[float, float | None]
) -> None:
    start, end = part
    whole = decoded(codec, talk, rate)
    expected = whole[round(start * rate) :][: round((min(end or SECONDS, SECONDS) - start) * rate)]
    found = decoded(codec, talk, rate, start, end)
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() < 3e-3 * np.abs(whole).max()


def test_only_what_it_takes_is_read(model_folder: Path, tmp_path: Path) -> None:
    codec, read = chirrup.load(model_folder), 0

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal read
            data = super().read(size)
            read += len(data)
            return data

    soundfile.write(tmp_path / "a.wav", noise(24_000 * 120), 24_000)
    encode_file(codec, tmp_path / "a.wav", tmp_path / "a.chirrup")
    data = (tmp_path / "a.chirrup").read_bytes()
    decode_file(codec, Watched(data), io.BytesIO(), start_seconds=60, end_seconds=61)
    assert read < len(data) / 5


def test_of_a_pipe(codec: Codec, talk: Path) -> None:
    target = io.BytesIO()
    result = decode_file(codec, Pipe(talk.read_bytes()), target, start_seconds=8, end_seconds=8.5)
    assert result.samples == RATE // 2
    audio, _ = soundfile.read(io.BytesIO(target.getvalue()))
    expected = decoded(codec, talk, RATE, 8, 8.5)
    assert np.abs(audio - expected).max() < 1e-4


def test_beyond_the_end(codec: Codec, talk: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="ends before 9 s"):
        decode_file(codec, talk, tmp_path / "b.wav", start_seconds=9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", [(-1, None), (2, 2), (2, 1), (float("inf"), None)])
def test_no_part(codec: Codec, talk: Path, tmp_path: Path, part: tuple[float, float]) -> None:
    with pytest.raises(FileError, match="--from"):
        decode_file(codec, talk, tmp_path / "b.wav", start_seconds=part[0], end_seconds=part[1])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("0", 0), (".5", 0.5), ("90:59.9", 5459.9)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:", "1:2:3:4", "nan", "inf", "1 ", "1:-3"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a time: use seconds, or for example 1:30"):
        parse_time(text)


@pytest.mark.parametrize(("text", "part"), [("1:99", "99"), ("0:60:00", "60"), ("1:60.5", "60.5")])
def test_minutes_and_seconds_end_at_59(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=f"'{text}' is not a time, because {part} is more than 59"):
        parse_time(text)


def test_on_the_command_line(tmp_path: Path) -> None:
    source, coded, target = (tmp_path / f"a.{ending}" for ending in ("flac", "chirrup", "wav"))
    soundfile.write(source, noise(5 * 24_000), 24_000)
    assert run(["encode", str(source), "-q"]) == 0
    assert run(["decode", str(coded), str(target), "-q", "--from", "0:03", "--to", "4.5"]) == 0
    assert soundfile.info(target).frames == 24_000 * 3 // 2
