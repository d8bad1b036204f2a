"""``chirrup evaluate``: output, results and errors."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.cli import run
from chirrup.evaluate.results import RESULTS, Results
from chirrup.files.drafts import only_one


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    for name in ("ann__0", "bob__0"):
        random = np.random.default_rng(len(name))
        (tmp_path / "clips").mkdir(exist_ok=True)
        soundfile.write(f"clips/{name}.wav", 0.1 * random.standard_normal(24_000), 24_000)
    return tmp_path / "clips"


def test_a_model_and_a_codec_of_ones_own(
    clips: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "memo.m4a").write_bytes(b"")
    arguments = ["evaluate", str(clips), "-c", "own_codec:Coarse@64k", "-c", "iris-t1@1k"]
    assert run([*arguments, "-m", "snr", "--condition", "loss:20", "--condition", "clean"]) == 0
    printed = capsys.readouterr()
    assert "clean: 2 clips of 2 speakers" in printed.out
    assert "Coarse 64" in printed.out
    assert "less Coarse" not in printed.out, "of 64 times the bitrate"
    assert f"evaluate does not read their formats: {clips}/memo.m4a; convert" in printed.err
    assert "left out: own_codec:Coarse under loss-20" in printed.err
    results = Results.read(Path("chirrup-evaluation", RESULTS))
    assert len(results.rows) == 6
    assert "<html" in Path("chirrup-evaluation", "report.html").read_text()


def test_a_clip_whose_name_is_no_text(
    clips: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "ann__0.wav").rename(clips / os.fsdecode(b"caf\xe9__0.wav"))
    arguments = ["evaluate", str(clips), "-c", "own_codec:Coarse@64k", "-m", "snr"]
    assert run([*arguments, "--condition", "noise:20"]) == 0
    results = Results.read(Path("chirrup-evaluation", RESULTS))
    assert {row.clip for row in results.rows} == {r"caf\udce9__0", "bob__0"}
    assert r"caf\udce9__0" in Path("chirrup-evaluation", "report.html").read_text()


def test_the_title_counts_one_clip(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips / "bob__0.wav").unlink()
    assert run(["evaluate", str(clips), "-c", "own_codec:Coarse@64k", "-m", "snr"]) == 0
    assert "clean: 1 clip of 1 speaker " in capsys.readouterr().out


def test_clips_without_a_score_are_counted(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(clips / "cat__0.wav", np.zeros(24_000), 24_000)
    assert run(["evaluate", str(clips), "-c", "own_codec:Coarse@64k", "-m", "snr"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "SNR of Coarse 64k: 1 of 3 clips have no score (no answer for this clip)" in printed


def test_a_file_is_no_folder_of_results(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(clips), "-c", "own_codec:Coarse", "-m", "snr"]
    assert run([*arguments, "--out", str(clips / "ann__0.wav")]) == 2
    assert "ann__0.wav is not a folder: give another one" in capsys.readouterr().err


def test_a_full_disk(
    clips: Path, capsys: pytest.CaptureFixture[str], limited_size: Callable[[int], None]
) -> None:
    """Here of the temporary folder; what is written to results is written alike."""
    limited_size(20_000)
    arguments = ["evaluate", str(clips), "-c", "own_codec:Coarse@64k", "-m", "snr"]
    assert run([*arguments, "--workers", "1", "-q"]) == 2
    said = capsys.readouterr().err
    assert "npy cannot be written: " in said
    assert said.count("\n") == 1
    assert not Path("chirrup-evaluation").exists()


def test_another_evaluation_in_the_folder(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with only_one(Path("out"), "chirrup evaluate"):
        assert run(["evaluate", str(clips), "-c", "own_codec:Coarse", "--out", "out"]) == 2
    assert "another chirrup evaluate is at work in out" in capsys.readouterr().err


def test_what_there_is(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--list"]) == 0
    printed = capsys.readouterr().out
    for name in ("iris-t1", "opus", "codec2", "pesq_wb", "lsd", "utmos"):
        assert name in printed


def test_two_models_of_the_same_name(
    clips: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [Path(name, "iris-t1") for name in ("a", "b")]
    for folder in folders:
        shutil.copytree(model_folder, folder)
    for pair in (folders, ["iris-t1", folders[0]]):
        codecs = [word for name in pair for word in ("-c", f"{name}@1k")]
        assert run(["evaluate", str(clips), "-m", "snr", *codecs]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"{pair[0]} and {pair[1]} are both named iris-t1 in the results: rename one" in said
    assert not Path("chirrup-evaluation").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["clips", "-c", "oris"], "no codec 'oris'"),
        (["clips", "-c", "own_codec:Coarse@7k"], "Coarse has no bitrate of 7000"),
        (["clips", "-c", "own_codec:Coarse@9999k"], "Coarse has no bitrate of 9999000 bit/s"),
        (["clips", "-c", "own_codec:Coarse@fast"], "'fast' is not a bitrate"),
        (["clips", "-m", "beauty"], "no metric 'beauty'"),
        (["clips", "-m", "snr", "--rate", "0"], "--rate"),
        (["clips", "-m", "snr", "--condition", "rain"], "'rain' is not a condition"),
        (["clips", "-m", "snr", "--noises", "nowhere"], "nowhere is not a folder"),
        (["clips", "-m", "snr", "-c", "own_codec:Coarse", "--out", "/proc/no"], "/proc/no"),
    ],
)
def test_mistakes_are_explained(
    clips: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not Path("chirrup-evaluation").exists()
