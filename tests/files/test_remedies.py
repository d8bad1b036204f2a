"""Advice for files that libsndfile does not read."""

import shlex
from pathlib import Path

import pytest

from chirrup.files import FileError
from chirrup.files.inputs import open_audio
from file_samples import Pipe


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("my  memo (1).m4a", "my  memo (1).wav"),
        ("it's.webm", "it's.wav"),
        ("-memo.m4a", "./-memo.wav"),
        ("take 1.5", "take 1.5.wav"),
        ("text.wav", "text.converted.wav"),
    ],
)
def test_the_line_for_ffmpeg_is_one_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, made: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(bytes(4) + b"ftypM4A " + bytes(100))
    with (
        pytest.raises(FileError, match="convert it first, with ffmpeg") as raised,
        open_audio(name),
    ):
        pass
    line = str(raised.value).partition("with ")[2]
    given = f"./{name}" if name.startswith("-") else name
    assert shlex.split(line) == ["ffmpeg", "-i", given, made]


@pytest.mark.parametrize("content", [b"", b"hello\n", b"%PDF-1.7", b"\x89PNG\r\n", b"PK\3\4" * 99])
@pytest.mark.parametrize("name", ["notes.txt", "talk.wav", "memo.m4a", "pipe"])
def test_nothing_converts_what_is_no_audio(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    source = Pipe(content * 20_000) if name == "pipe" else tmp_path / name
    with pytest.raises(FileError) as raised, open_audio(source):
        pass
    assert "ffmpeg" not in str(raised.value)
    assert content == b"" or "give a recording" in str(raised.value)
