"""Advice for files that libsndfile does not read."""

import shlex
from pathlib import Path

import pytest

from chirrup.files import FileError
from chirrup.files.inputs import open_audio


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
