"""``chirrup data``: preparation and check of a corpus, and errors."""

import json
from pathlib import Path

import pytest

from chirrup.cli import run
from data_samples import noise, talk, write

pytest.importorskip("pyloudnorm")
pytest.importorskip("matplotlib")


@pytest.fixture
def talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for speaker in ("ann", "bob"):
        audio = talk(1.5, seed=len(speaker)) + 3e-4 * noise(1.5, seed=ord(speaker[0]))
        write(tmp_path / "talks" / speaker / "1.wav", audio)
    return tmp_path / "talks"


def test_prepare_and_check(talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (talks / "ann" / "memo.m4a").write_bytes(b"what libsndfile does not read")
    arguments = ["--out", "corpus", "--licence", "CC0-1.0", "--style", "studio", "--workers", "1"]
    assert run(["data", "prepare", "speech:talks", *arguments]) == 0
    assert "corpus: 2 recordings, 3.00 s; 1 refused" in capsys.readouterr().err
    assert "memo.m4a,0.000,talks,unreadable," in Path("corpus/refused.csv").read_text()
    names = {path.name for path in Path("corpus").iterdir()}
    assert {"manifest.csv", "refused.csv", "recipe.json", "report.html", "speech_train"} <= names
    assert run(["data", "check", "corpus", "--workers", "1"]) == 0
    assert capsys.readouterr().out == "2 recordings, 0 problems\n"

    next(Path("corpus").glob("*/*.tar")).unlink()
    assert run(["data", "check", "corpus", "--workers", "1", "--quick"]) == 2
    assert "unreadable (cannot be opened or decoded): 1" in capsys.readouterr().out
    assert run(["data", "check", "corpus", "--workers", "1", "--quick", "--json"]) == 2
    assert list(json.loads(capsys.readouterr().out)["problems"]) == ["unreadable"]


def test_control_characters_of_a_manifest_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = ["\x1b[2Jä.wav,CC0", "no\x07.wav,CC0", f"{'long ' * 15}.wav,CC0"]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,licence", *rows]) + "\n")
    assert run(["data", "check", str(tmp_path), "--quick", "--workers", "1"]) == 2
    printed = capsys.readouterr().out
    assert "  \\x1b[2Jä.wav: No such file" in printed
    assert "  no\\x07.wav: No such file" in printed
    assert [line for line in printed.splitlines() if len(line) > 60] == []
    assert run(["data", "check", f"{tmp_path}/\x1b[2J"]) == 2
    assert "\\x1b[2J has no manifest.csv" in capsys.readouterr().err


def test_layouts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "prepare", "--layouts"]) == 0
    printed = capsys.readouterr().out
    for name in ("libritts", "vctk", "ears", "mls", "globe", "common-voice", "fsd50k", "rooms"):
        assert f"\n{name} " in f"\n{printed}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prepare none", "none is not a folder"),
        ("prepare talks", "the layout of"),
        ("prepare vctk:talks", "does not look like VCTK"),
        ("prepare", "nothing to prepare: give a source"),
        ("prepare speech:talks", "2 by licence (it has no licence: give --licence"),
        ("prepare speech:talks --recipe none", "no recipe 'none': give a file, or one of as-is"),
        ("prepare speech:talks --recipe bad.toml", "recipe bad.toml has no 'sead'"),
        ("prepare speech:talks --style loud", "no style 'loud'"),
        ("prepare speech:talks --out bad.toml", "bad.toml is not a folder"),
        ("prepare speech:talks --out talks", "neither empty nor a corpus"),
        ("check talks", "has no manifest.csv"),
        ("check none", "has no manifest.csv"),
    ],
)
def test_mistakes_are_one_line(
    talks: Path, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.toml").write_text("sead = 1\n")
    assert run(["data", *line.split()]) == 2
    err = capsys.readouterr().err
    assert err.startswith("chirrup: error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not Path("corpus", "manifest.csv").exists()
