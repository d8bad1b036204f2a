"""The command line: output, exit codes, pipes and files."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from chirrup.cli import run
from chirrup.cli.console import duration, parse_bitrate, parse_metadata
from chirrup.cli.models import score_lines, scores
from chirrup.errors import UsageError
from chirrup.lab.papers import PAPERS

COMMAND = [sys.executable, "-m", "chirrup"]
CLIP = Path(__file__).parents[2] / "src" / "chirrup" / "clips" / "joe.flac"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- what works --------------------------------------------------------------------------------


def test_the_tour_of_the_readme(
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    audio, rate = soundfile.read(CLIP)
    soundfile.write("talk.wav", audio[:30_001], rate)
    assert run(["encode", "talk.wav", "talk.chirrup", "--bitrate", "1000"]) == 0
    assert "1.25 s" in capsys.readouterr().err
    assert run(["decode", "talk.chirrup", "talk-1k.wav"]) == 0
    assert soundfile.info("talk-1k.wav").frames == 30_001
    capsys.readouterr()
    assert run(["info", "talk.chirrup"]) == 0
    assert "damage" not in capsys.readouterr().out
    assert run(["info", "talk.chirrup", "--check"]) == 0
    assert "damage:    none" in capsys.readouterr().out
    assert run(["info", "talk.chirrup", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sample_count"] == 30_001
    assert facts["seconds"] == pytest.approx(30_001 / rate)
    assert run(["encode", "talk.wav", "-f", "--metadata", "title=a talk", "--mix"]) == 0
    assert run(["info", "talk.chirrup", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["metadata"] == {"title": "a talk"}
    assert json.loads(out)["nominal_bitrate_bps"] == 6000


def test_mid_and_side(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coded, decoded = tmp_path / "talk.chirrup", tmp_path / "talk.wav"
    said = {}
    for mode in ("separate", "mid-side"):
        line = ["encode", str(folder / "talk.wav"), str(coded), "-f", "-b", "1k", "-q"]
        assert run([*line, "--stereo", mode]) == 0
        assert run(["info", str(coded)]) == 0
        said[mode] = capsys.readouterr().out
    assert "channels: 2\n" in said["separate"]
    assert "channels: 2 coded as mid and side\n" in said["mid-side"]
    assert run(["info", str(coded), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["channel_mode"] == "mid-side"
    assert run(["decode", str(coded), str(decoded)]) == 0
    facts = soundfile.info(decoded)
    assert (facts.channels, facts.frames, facts.samplerate) == (2, 44_101, 22_050)


def test_outputs_by_default_and_in_a_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    source = folder / "talk.chirrup"
    assert run(["decode", str(source), str(tmp_path / "out"), "-q"]) == 0
    assert names(tmp_path / "out") == {"talk.decoded.wav"}
    assert run(["decode", str(source), str(tmp_path / "a.flac"), "--keep-rate"]) == 0
    assert soundfile.info(tmp_path / "a.flac").samplerate == 24_000
    assert run(["decode", str(source), str(tmp_path / "a.wav"), "--rate", "8000", "--float"]) == 0
    facts = soundfile.info(tmp_path / "a.wav")
    assert (facts.samplerate, facts.subtype) == (8000, "FLOAT")


def test_info_of_several(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert run(["info", "talk.wav"]) == 0
    out = capsys.readouterr().out
    assert "  format:    WAV (Microsoft), Signed 16 bit PCM\n  duration:  2.00 s\n" in out
    assert run(["info", "talk.chirrup", "none", "iris-t1"]) == 2
    said = capsys.readouterr()
    assert [line for line in said.out.splitlines() if line[0] != " "] == ["talk.chirrup", "iris-t1"]
    assert said.err.startswith("chirrup: error: none does not exist, and no model has this name: ")
    assert run(["info", "talk.chirrup", "talk.wav", "--json"]) == 0
    assert [facts["sample_count"] for facts in json.loads(capsys.readouterr().out)] == [44_101] * 2


def test_models_and_info_of_one(
    model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["models"]) == 0
    assert "iris-t1" in capsys.readouterr().out
    assert run(["models", "--json"]) == 0
    (first,) = (m for m in json.loads(capsys.readouterr().out) if m["name"] == "iris-t1")
    for name in ("iris-t1", str(model_folder)):
        assert run(["info", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == first
    assert first["bitrates_bps"][0] == 500
    assert run(["info", "iris-t1"]) == 0
    assert "30 ms" in capsys.readouterr().out


def test_the_two_rates_of_a_model_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert "16 to 24 kHz" in out
    assert max(map(len, out.splitlines())) <= 80
    assert run(["info", "focal-small"]) == 0
    assert "16000 to 24000 Hz, mono" in capsys.readouterr().out
    assert run(["info", "focal-small", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["input_rate_hz"], facts["sample_rate_hz"]) == (16_000, 24_000)


def test_audit_next_to_the_paper(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "iris-t1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert abs(facts["parts"]["encoder"]["mflops"]["deviation_percent"]) < 0.1
    assert abs(facts["parts"]["decoder"]["mflops"]["deviation_percent"]) < 0.6
    assert facts["parts"]["total"]["mflops"]["ours"] <= 700
    assert facts["parts"]["total"]["mflops"]["paper"] == pytest.approx(694.98)
    assert facts["note"] is None
    assert facts["bits_per_frame"] == {"1000": 20, "6000": 120}
    assert facts["latency_ms"]["nominal"] == 30
    assert 29 < facts["latency_ms"]["measured"] <= 30
    assert run(["audit", "iris-t1"]) == 0
    out = capsys.readouterr().out
    assert "694.98" in out
    assert "30.00 ms nominal" in out


def test_audit_of_a_paper_that_says_less(
    model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = replace(PAPERS["iris-t1"], parameters_m={}, note="Something was left out.")
    monkeypatch.setitem(PAPERS, "iris-t1", paper)
    assert run(["audit", "iris-t1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["note"] == "Something was left out."
    assert facts["parts"]["encoder"]["parameters"]["ours"] > 0
    for part in ("encoder", "total"):
        assert facts["parts"][part]["parameters"]["paper"] is None
        assert facts["parts"][part]["parameters"]["deviation_percent"] is None
    assert run(["audit", "iris-t1"]) == 0
    assert "Something was left out." in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "line", ["audit tq", "info tq-small", "evaluate --list", "data prepare --layouts", "models"]
)
def test_lines_fit_the_terminal(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(line.split()) == 0
    for text in capsys.readouterr().out.splitlines():
        assert len(text) <= 80 or " " not in text.strip(), "only a word may be longer"


def test_audit_of_a_configuration_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's 6.31 billion multiplications beside ours, and why they differ."""
    assert run(["audit", "tq", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "chirrup: tq ships without weights: the audit is of its configuration\n"
    facts = json.loads(said.out)
    decoder = facts["parts"]["decoder"]["mflops"]
    assert decoder["paper"] == 2 * 6310
    assert decoder["ours"] == pytest.approx(2 * 2471, rel=1e-3)
    assert facts["parts"]["encoder"]["mflops"]["deviation_percent"] == pytest.approx(3, abs=0.1)
    for part in ("quantizer", "total"):
        assert facts["parts"][part]["mflops"]["paper"] is None
    assert "6.31 GMAC/s (12,620 MFLOPS) counts a transposed convolution" in facts["note"]
    assert facts["bits_per_frame"] == {"31008": 45, "62016": 90, "124031": 180}
    assert facts["latency_ms"]["measured_samples"] == 64
    assert facts["latency_ms"]["paper"] is None
    assert run(["audit", "tq"]) == 0
    out = capsys.readouterr().out
    assert facts["note"] in " ".join(out.split())
    assert "12620" in out
    assert "- in the paper" in out


def test_audit_counts_no_configuration_in_the_place_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tq").mkdir()
    assert run(["audit", "tq"]) == 2
    assert "no model 'tq'" in capsys.readouterr().err


def test_demo(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    kinds = ("original.wav", "1kbps.wav", "1kbps.chirrup", "6kbps.wav", "6kbps.chirrup")
    assert names(tmp_path / "demo") == set(kinds)
    assert "PESQ-wb" in out
    assert "original.wav, 1kbps.wav, 6kbps.wav" in out
    lengths = {soundfile.info(tmp_path / "demo" / kind).frames for kind in kinds[::2][:1]}
    assert lengths == {soundfile.info(CLIP).frames}


def test_help_is_quick_and_nothing_imports_torch(tmp_path: Path, folder: Path) -> None:
    start = os.times()
    result = subprocess.run([*COMMAND, "--help"], capture_output=True, timeout=60)
    end = os.times()
    assert result.returncode == 0
    used = end.children_user + end.children_system - start.children_user - start.children_system
    assert used < 2  # 0.25 s on an idle machine
    code = (
        "import sys\nfrom chirrup.cli import run\n"
        f"for line in (['--help'], ['models'], ['audit', 'iris-t1'], ['info', {CLIP.name!r}],"
        f"['decode', {str(folder / 'talk.chirrup')!r}, {str(tmp_path / 'x.wav')!r}]):\n"
        "    run(line)\n"
        "    assert not {'torch', 'onnx', 'scipy'} & set(sys.modules), line\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# --- small parts -------------------------------------------------------------------------------


def test_bitrates() -> None:
    for text, value in (("6000", 6000), ("6k", 6000), ("1.5K", 1500), ("6kbps", 6000)):
        assert parse_bitrate(text) == value
    for text in ("", "k", "six", "nan", "inf"):
        with pytest.raises(UsageError):
            parse_bitrate(text)


def test_metadata() -> None:
    assert parse_metadata(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError):
        parse_metadata(["=x"])


def test_durations() -> None:
    assert [duration(value) for value in (7.05, 59.9, 61, 3723)] == [
        "7.05 s",
        "59.90 s",
        "1:01",
        "1:02:03",
    ]


def test_scores_of_a_training_card() -> None:
    said = {"clips": "39 of speech_test", "pesq_wb": {"1_kbps": 1.49, "6_kbps": 2.65}}
    assert scores({"steps": 5, "scores": said}) == {"pesq_wb": said["pesq_wb"]}
    lines = score_lines({"scores": scores({"scores": said})})
    assert lines == ["PESQ 1.49@1k", "PESQ 2.65@6k"]
    assert scores({"steps": 5}) == {}
