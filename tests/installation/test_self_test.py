"""The self-test of the shipped models: codes and levels beside stored ones, and hashes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from chirrup.cli import run
from chirrup.installation import self_test
from chirrup.runtime import native
from chirrup.zoo import FOLDER, load, models


@pytest.mark.parametrize("name", models(earlier=True))
@pytest.mark.parametrize("engine", ["native", "onnx"])
def test_every_shipped_model_gives_its_stored_codes(name: str, engine: str) -> None:
    """After a training, ``python benchmarks/self_test.py MODEL`` writes the codes again."""
    if engine == "native" and not (FOLDER / name / native.PROGRAM).exists():
        pytest.skip("the model has no program of the native engine")
    done = self_test.check_model(name, engine)
    compared = "hashes, codes and levels" if load(name).has_encoder else "hashes and levels"
    assert (done.state, done.engine, done.text) == ("right", engine, f"{compared} are right")


@pytest.fixture
def one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the only shipped model, which a test may change."""
    folder = tmp_path / "lrac-t1"
    shutil.copytree(FOLDER / "lrac-t1", folder)
    monkeypatch.setattr("chirrup.model_folders.FOLDER", tmp_path)
    monkeypatch.setattr("chirrup.installation.self_test.FOLDER", tmp_path)
    monkeypatch.setattr("chirrup.installation.facts.FOLDER", tmp_path)
    return folder


def change_codes(folder: Path) -> None:
    path = folder / self_test.STORED
    stored = json.loads(path.read_text())
    stored["codes"][0][3] ^= 1
    path.write_text(json.dumps(stored))


def change_levels(folder: Path) -> None:
    path = folder / self_test.STORED
    stored = json.loads(path.read_text())
    stored["levels_db"][2] += 2
    path.write_text(json.dumps(stored))


def change_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def damage_stored(folder: Path) -> None:
    (folder / self_test.STORED).write_text("[" * 9999)


def change_stored(folder: Path) -> None:
    (folder / self_test.STORED).write_text("[]")


def change_description(folder: Path) -> None:
    (folder / "model.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_codes, "1 of 108 codes differs from the stored ones: install chirrup again"),
        (change_levels, "levels of decoded frames differ from the stored ones by 2.0 dB"),
        (change_weights, "model.safetensors is damaged: its hash is wrong"),
        (change_description, "is not a whole model folder"),
        (damage_stored, "self_test.json fails: RecursionError"),
        (change_stored, "self_test.json fails: TypeError"),
    ],
)
def test_a_wrong_model_ends_doctor_with_an_error(
    change: object, text: str, one_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(change)
    change(one_model)
    assert run(["doctor", "--json"]) == 2
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["state"] == "wrong"
    assert text in model["text"]


def test_without_a_package_the_model_is_not_run(
    one_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "lacking", lambda extra: ["onnxruntime"])
    done = self_test.check_model("lrac-t1", "onnx")
    assert (done.state, done.text) == (
        "not run",
        "missing: onnxruntime; pip install 'chirrup[onnx]'",
    )


def test_the_excerpt_of_a_stereo_model_has_different_channels() -> None:
    from chirrup import load

    codec = next(codec for codec in map(load, models()) if codec.channels == 2)
    left, right = self_test.excerpt(codec, 12_000)
    assert len(left) == self_test.FRAMES * codec.input_frame_samples
    assert np.std(left - right) > 0.01
