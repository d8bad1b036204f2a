"""Tags: from the source to the ``.chirrup`` file, and from there to audio."""

import struct
from pathlib import Path

import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.codec import Codec
from chirrup.files import decode_file, describe, encode_file
from chirrup.files.tags import read_tags
from file_samples import Pipe, noise

ASKED = {
    "title": "Łódź",
    "artist": "Ann",
    "album": "Talks",
    "date": "2024",
    "comment": "Of 3 s",
}


@pytest.fixture(scope="module")
def codec(model_folder: Path) -> Codec:
    return chirrup.load(model_folder)


def tagged(path: Path, tags: dict[str, str]) -> Path:
    with soundfile.SoundFile(path, "w", 24_000, 1) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(noise(3000))
    return path


def tags_of(path: Path) -> dict[str, str]:
    with soundfile.SoundFile(path) as file:
        return read_tags(file)


@pytest.mark.parametrize("source", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize(
    ("target", "lost"),
    [
        ("b.wav", set()),
        ("b.flac", set()),
        ("b.ogg", set()),
        ("b.opus", set()),
        ("b.mp3", {"title"}),  # libsndfile writes it wrongly
        ("b.au", set(ASKED)),
    ],
)
def test_tags_both_ways(
    codec: Codec, tmp_path: Path, source: str, target: str, lost: set[str]
) -> None:
    tagged(tmp_path / source, ASKED)
    encode_file(codec, tmp_path / source, tmp_path / "x.chirrup")
    assert describe(tmp_path / "x.chirrup")["metadata"] == ASKED
    rate_hz = 48_000 if target == "b.opus" else None
    result = decode_file(codec, tmp_path / "x.chirrup", tmp_path / target, rate_hz=rate_hz)
    assert tags_of(tmp_path / target) == {k: v for k, v in ASKED.items() if k not in lost}
    assert len(result.damage) == bool(lost)
    for name in lost:
        assert name in result.damage[0]


@pytest.mark.parametrize("by", ["file", "pipe"])
def test_tags_of_a_wav_file_that_libsndfile_does_not_read(
    codec: Codec, tmp_path: Path, by: str
) -> None:
    """A WAV file as ffmpeg writes it to a pipe, with tags first and without a size of the
    samples."""
    info = (
        b"INFOINAM" + struct.pack("<I", 5) + b"talk\0\0" + b"IPRD" + struct.pack("<I", 3) + b"abc"
    )
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24_000, 48_000, 2, 16)
    head += b"LIST" + struct.pack("<I", len(info)) + info + b"\0data" + bytes(4)
    data = b"RIFF" + bytes(4) + head + bytes(6000)
    (tmp_path / "a.wav").write_bytes(data)
    source = tmp_path / "a.wav" if by == "file" else Pipe(data)
    encoded = encode_file(codec, source, tmp_path / "x.chirrup")
    assert encoded.samples == 3000
    assert describe(tmp_path / "x.chirrup")["metadata"] == {"title": "talk", "album": "abc"}


def test_long_tags(codec: Codec, tmp_path: Path) -> None:
    """A tag that does not fit is left out with a note, and the file stays readable."""
    source = tagged(
        tmp_path / "a.flac", {"title": "x" * 40_000, "comment": "y" * 40_000, "date": "1"}
    )
    encoded = encode_file(codec, source, tmp_path / "x.chirrup", metadata={"title": "t"})
    assert encoded.notes == []
    encoded = encode_file(codec, source, tmp_path / "x.chirrup", force=True)
    assert encoded.notes == ["left out tags that are too long for a .chirrup file: comment"]
    for ending in ("aiff", "wav"):
        result = decode_file(codec, tmp_path / "x.chirrup", tmp_path / f"x.{ending}")
        assert "left out tags that do not fit into" in result.damage[0]
        assert soundfile.info(tmp_path / f"x.{ending}").frames == 3000
        assert tags_of(tmp_path / f"x.{ending}").get("title") is None


def test_tags_on_the_command_line(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tagged(Path("a.flac"), {"title": "old", "artist": "Ann"})
    assert run(["encode", "a.flac", "--metadata", "title=new", "--metadata", "key=value"]) == 0
    assert describe("a.chirrup")["metadata"] == {"title": "new", "key": "value", "artist": "Ann"}
    assert run(["decode", "a.chirrup", "b.flac"]) == 0
    assert tags_of(Path("b.flac")) == {"title": "new", "artist": "Ann"}
    assert run(["decode", "a.chirrup", "c.flac", "--no-tags"]) == 0
    assert tags_of(Path("c.flac")) == {}
    assert run(["encode", "a.flac", "d.chirrup", "--no-tags", "--metadata", "key=value"]) == 0
    assert describe("d.chirrup")["metadata"] == {"key": "value"}
