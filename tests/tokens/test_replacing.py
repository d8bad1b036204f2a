"""Data sets that exist already: other settings and sources need ``--force``."""

import os
import shutil
from pathlib import Path

import pytest

import chirrup
from chirrup import tokens
from chirrup.cli import run as cli
from chirrup.tokens.formats import FORMATS
from token_samples import content, file_of, in_turn


@pytest.mark.parametrize("form", FORMATS)
def test_a_data_set_that_is_replaced_is_read_again(
    corpus: Path, codec: chirrup.Codec, tmp_path: Path, form: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    settings, source = tokens.settings_of(codec, 500, form), tmp_path / "x.wav"
    for name, rate_hz in (("a.wav", 24_000), ("p1/c.flac", 16_000)):
        source.write_bytes((corpus / name).read_bytes())
        tokens.tokenize([str(source)], tmp_path / "out", codec, settings, in_turn)
        assert tokens.open(tmp_path / "out")[0].sample_rate_hz == rate_hz


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-b", "1500"], "has bitrate_bps 1000, not 1500: give another --out, or replace it with"),
        (["--flatten", "delay"], "has flatten 'none', not 'delay'"),
        (["--shard", "7"], "has shard 2000, not 7"),
    ],
)
def test_other_settings_need_force(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture, options: list[str], words: str
) -> None:
    out, source = tmp_path / "out", str(corpus / "a.wav")
    base = ["tokenize", source, "--out", str(out), "--format", "npz", "-q"]
    assert cli([*base, "-b", "1000"]) == 0
    whole = content(out)
    assert cli([*base, *("-b", "1000"), *options]) == 2
    assert words in capfd.readouterr().err
    assert content(out) == whole
    assert cli([*base, *("-b", "1000"), *options, "--force"]) == 0
    assert len(tokens.open(out)) == 1


def test_rows_of_other_sources_need_force(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other, link = tmp_path / "tokens", tmp_path / "other", tmp_path / "link"
    other.mkdir()
    (other / "a.flac").write_bytes(file_of("p1/c.flac"))
    (many / "05-bad.flac").unlink()
    link.symlink_to(other)

    def made(*sources: Path, force: bool = False) -> int:
        options = ["--out", str(out), "--format", "npz", *["--force"] * force]
        status = cli(["tokenize", *map(str, sources), *options])
        assert status == 0 or "is not among the sources: name it" in capsys.readouterr().err
        return len(tokens.open(out)) if status == 0 else -1

    assert made(many / "00.flac") == 1
    before = content(out)
    for wrong in (other, many / "01.flac", many / ".." / "other"):
        assert made(wrong) == -1
    assert content(out) == before
    assert made(many) == 12, "the folder of the file"
    assert made(many / "00.flac") == -1
    assert made(many, other) == 13
    assert made(many / ".." / "many", link) == 13, "other names of the sources"
    assert made(other) == -1
    assert made(other, force=True) == 1
    shutil.rmtree(other)
    assert made(many) == 12, "a source that does not exist any more"


def test_rows_of_an_earlier_pattern_need_force(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(many))
    monkeypatch.setenv("USERPROFILE", str(many))
    options = ["--out", str(tmp_path / "tokens"), "--format", "npz"]
    for pattern in ("~/0[0].flac", str(many / "0[0].flac")):
        assert cli(["tokenize", pattern, *options]) == 0
    for pattern, other in (("~/0[0].flac", "01.flac"), ("~/01.flac", "02.flac")):
        assert cli(["tokenize", pattern, *options, "--force"]) == 0
        capsys.readouterr()
        assert cli(["tokenize", str(many / other), *options]) == 2
        assert "is not among the sources: name it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-b", "7"], "iris-t1 has no bitrate of 7 bit/s; it has 500, 1000"),
        (["--model", "nothing"], "nothing"),
        (["--segment", "0.01"], "segments of 0.01 s are not possible: use 0.1 to 86400 s, or 0"),
        (["--segment", "inf"], "segments of inf s are not possible"),
        (["--out", "{corpus}"], "is neither empty nor a data set: give another --out"),
        (["--out", "{corpus}/a.wav"], "is not a folder: give another --out"),
    ],
)
def test_a_wrong_command_writes_nothing(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture, options: list[str], words: str
) -> None:
    before = content(corpus)
    given = [option.format(corpus=corpus) for option in options]
    base = ["tokenize", str(corpus / "a.wav"), "--out", str(tmp_path / "out"), "--format", "npz"]
    assert cli([*base, *given]) == 2
    assert words in capfd.readouterr().err
    assert (content(corpus), os.listdir(tmp_path)) == (before, [])
