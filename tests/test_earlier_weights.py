"""Codes of earlier weights of a shipped model, which the package keeps as ``NAME@DIGITS``."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup import model_folders
from chirrup.calls.models import Models
from chirrup.cli import completion, run
from chirrup.evaluate.results import RESULTS, Results
from chirrup.live.description import Description
from chirrup.live.receiver import Loading
from chirrup.zoo import FOLDER

NAME = "lrac-t1"


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> chirrup.Codec:
    """The weights that ship, as earlier ones: the model of this name has other weights."""
    codec = chirrup.load(NAME)
    zoo = tmp_path / "zoo"
    shutil.copytree(FOLDER / NAME, zoo / f"{NAME}@{codec.codes_sha256[:8]}")
    shutil.copytree(FOLDER / NAME, zoo / NAME)
    about = json.loads((zoo / NAME / "model.json").read_text()) | {"codes_sha256": "1" * 64}
    (zoo / NAME / "model.json").write_text(json.dumps(about))
    monkeypatch.setattr(model_folders, "FOLDER", zoo)
    return codec


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    audio, rate_hz = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", frames=24_000)
    soundfile.write(tmp_path / "clip.wav", audio, rate_hz)
    return tmp_path / "clip.wav"


def test_names(earlier: chirrup.Codec) -> None:
    digits = earlier.codes_sha256[:8]
    assert chirrup.models() == [NAME]
    assert model_folders.with_weights(NAME, earlier.codes_sha256) == f"{NAME}@{digits}"
    assert model_folders.with_weights(NAME, "1" * 64) == NAME
    assert model_folders.with_weights(NAME, "2" * 64) == NAME
    assert model_folders.with_weights(f"../{NAME}", earlier.codes_sha256) is None
    assert chirrup.load(f"{NAME}@{digits}").codes_sha256 == earlier.codes_sha256
    assert chirrup.load(NAME).codes_sha256 == "1" * 64


def test_a_file_and_a_data_set_of_tokens(
    earlier: chirrup.Codec, clip: Path, tmp_path: Path
) -> None:
    name = f"{NAME}@{earlier.codes_sha256[:8]}"
    coded, data = tmp_path / "clip.chirrup", tmp_path / "tokens"
    assert run(["encode", str(clip), str(coded), "--model", name]) == 0
    assert run(["decode", str(coded), str(tmp_path / "file.wav")]) == 0
    assert run(["tokenize", str(clip), "--out", str(data), "--model", name]) == 0
    assert run(["detokenize", str(data), "--out", str(tmp_path / "rows")]) == 0
    audio, _ = soundfile.read(clip, dtype="float32")
    expected = earlier.decode(earlier.encode(audio))[: len(audio)]
    for path in (tmp_path / "file.wav", next((tmp_path / "rows").rglob("*.wav"))):
        decoded, _ = soundfile.read(path, dtype="float32")
        assert np.abs(decoded - expected).max() < 2 / 32768


def test_a_stream(earlier: chirrup.Codec) -> None:
    notes: list[str] = []
    models = Models(None, notes.append)
    description = Description.of(earlier.spec, 4, 1, 1)
    while isinstance(codec := models.find(description), Loading):
        threading.Event().wait(0.01)
    assert isinstance(codec, chirrup.Codec), notes
    assert codec.codes_sha256 == earlier.codes_sha256


def test_an_evaluation_beside_the_latest_weights(clip: Path, tmp_path: Path) -> None:
    """Without a bitrate, the digits are not taken for one."""
    codecs = ["iris-t1@86e61466@1k", "iris-t1@86e61466", "iris-t1@1k"]
    (tmp_path / "clips").mkdir()
    shutil.move(clip, tmp_path / "clips")
    command = ["evaluate", str(tmp_path / "clips"), "-m", "snr", "--out", str(tmp_path / "out")]
    assert run([*command, *(word for codec in codecs for word in ("-c", codec))]) == 0
    systems = {row.system for row in Results.read(tmp_path / "out" / RESULTS).rows}
    earlier = {f"iris-t1@86e61466-{rate}" for rate in (1000, 6000)}
    assert systems == earlier | {"iris-t1-1000"}


def test_lists_and_descriptions_name_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    assert "earlier weights, to decode: iris-t1@86e61466" in capsys.readouterr().out
    assert run(["info", "iris-t1@86e61466"]) == 0
    assert "codes of:  weights 86e61466" in capsys.readouterr().out
    assert run(["info", "iris-t1"]) == 0
    assert "codes of:" not in capsys.readouterr().out


def test_errors_and_completion_name_the_earlier_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(Path(__file__).parent / "archive" / "0.1" / "iris-t1.chirrup")
    assert run(["decode", old, str(tmp_path / "a.wav"), "--model", "iris-t1"]) == 2
    assert "give --model iris-t1@86e61466, or decode" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(chirrup.ModelError, match="iris-t1@86e61466"):
        chirrup.load("iris-t1@00000000")
    assert completion.models("iris-t1@") == ["iris-t1@86e61466"]
    assert completion.models("iris-t1") == ["iris-t1"]
