"""The command line with a model of two joint channels: from training to evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import small_spectro
from chirrup.cli import run
from chirrup.evaluate.results import RESULTS, Results
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.spectrostream import SpectroStream
from once_a_session import once
from small_model import Exported
from small_spectro import DELAY, FRAME, NAME, RATE_HZ, export_small_spectro, stereo

RECIPE = """
model = "small-spectro"
batch_size = 2
warmup_steps = 1
stages = [{ name = "a", steps = 2, quantize = false, weights = { mel = 1 } }]
[data]
speech = "music"
validation = "music"
channels = "keep"
conditions = { clean = 1 }
crop_seconds = 0.1
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    exported: Exported = once(tmp_path_factory, NAME, export_small_spectro)
    return str(exported.folder)


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip in stereo and one in mono."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    folder = tmp_path / "music"
    folder.mkdir()
    audio = 0.3 * stereo(RATE_HZ // 2)
    soundfile.write(folder / "both.wav", audio.T, RATE_HZ)
    soundfile.write(folder / "mono.wav", audio[0], RATE_HZ)
    return folder


def test_training(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONFIGS, NAME, (SpectroStream, small_spectro.CONFIG))
    Path("MANIFEST.csv").write_text("path\nmusic/both.wav\nmusic/mono.wav\n")
    Path("recipe.toml").write_text(RECIPE)
    train = ["train", "recipe.toml", "--out", "out", "--device", "cpu"]
    data = ["data.manifest=MANIFEST.csv", "data.cache=cache"]
    assert run([*train, *data]) == 0
    assert Path("out/checkpoint.pt").exists()
    capsys.readouterr()
    soundfile.write(music / "both.wav", np.zeros((RATE_HZ, 3)), RATE_HZ)
    for changes, words in (
        (["data.cache=other"], "both.wav has 3 channels, the model codes 2 jointly"),
        (["data.speech=speech"], "MANIFEST.csv lists no file in speech/"),
        (["model_changes.separate_levels=7"], "separate_levels must be from 0 to 3"),
        (["model_changes.hue=7"], "small-spectro has no 'hue'"),
    ):
        assert run([*train, "--fresh", *data, *changes]) == 2
        assert words in capsys.readouterr().err


def test_files(music: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for clip, channels in (("both", 2), ("mono", 1)):
        assert run(["encode", f"music/{clip}.wav", f"{clip}.chirrup", "--model", model]) == 0
        assert run(["decode", f"{clip}.chirrup", "out.wav", "-f", "--model", model]) == 0
        about = soundfile.info("out.wav")
        assert (about.channels, about.samplerate, about.frames) == (channels, RATE_HZ, 24_000)
    assert Path("both.chirrup").stat().st_size == Path("mono.chirrup").stat().st_size
    capsys.readouterr()
    assert run(["encode", "music/both.wav", "-f", "--model", model, "--stereo", "mid-side"]) == 2
    assert "jointly" in capsys.readouterr().err


def test_audit(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    nominal, measured = facts["latency_ms"]["nominal"], facts["latency_ms"]["measured"]
    assert nominal == 1000 * (FRAME + DELAY) / RATE_HZ
    assert 0.9 * nominal < measured <= nominal


def test_evaluation(music: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    scores = ("snr", "ipd_error", "ild_error")
    wanted = [word for name in scores for word in ("-m", name)]
    arguments = ["evaluate", "music", "-c", f"{model}@4k,12k", "-c", "own_codec:Coarse@64k"]
    assert run([*arguments, *wanted, "--condition", "clean", "--condition", "loss:20"]) == 0
    assert "IPD error" in capsys.readouterr().out
    rows = {
        (row.codec, row.bitrate_bps, row.condition, row.clip): row
        for row in Results.read(Path("chirrup-evaluation", RESULTS)).rows
    }
    assert len(rows) == 2 * 2 * 2 + 2
    for (codec, rate_bps, _, clip), row in rows.items():
        joint = codec != "coarse"
        frames = -(-(RATE_HZ // 2 + DELAY) // FRAME)
        assert row.bits == pytest.approx(rate_bps * FRAME / RATE_HZ * frames, abs=8) or not joint
        assert row.scores["snr"] is not None
        assert (row.scores["ipd_error"] is None) == (clip == "mono")
        assert (row.scores["ild_error"] is None) == (clip == "mono")
