"""Models of the Hugging Face hub, from a local server and from the cache."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chirrup
from chirrup.evaluate.peers import find
from chirrup.zoo import FOLDER
from fake_hub import COMMIT, FakeHub, running_hub

FILES = {"model.json", "README.md", "model.chirp", "model.safetensors"} | {
    f"{part}{frame}.onnx" for part in ("encoder", "decoder") for frame in ("", "-frame")
}
"""Files of the model in this repository."""
NAME = "hf://bird/song"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with a model that has other files too, and repositories that are not model folders."""
    song = shutil.copytree(FOLDER / "lrac-t1", tmp_path / "song")
    (song / "training").mkdir()
    for name in ("pytorch_model.bin", "other.onnx", "training/model.json"):
        (song / name).write_bytes(b"not for chirrup")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text("{}")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "model.json").write_text('{"format": 99}')
    names = ("song", "text", "newer")
    with running_hub({f"bird/{name}": tmp_path / name for name in names}) as hub:
        yield hub


def info(name: str, environment: dict[str, str], python: str = "") -> tuple[int, str]:
    """Run ``chirrup info``; return the exit code and the output, or the errors if it fails."""
    program = f"{python}; from chirrup.cli import main; main()"
    command = ["-c", program] if python else ["-m", "chirrup"]
    done = subprocess.run(
        [sys.executable, *command, "info", "--json", name],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def test_a_model_of_the_hub_is_downloaded_once(hub: FakeHub, tmp_path: Path) -> None:
    """Only the files of the model folder are downloaded. Later they are taken from the cache, also
    if the hub cannot be reached."""
    environment = hub.environment(tmp_path / "home")
    code, output = info(NAME, environment)
    assert code == 0, output
    facts = json.loads(output)
    facts = facts[0] if isinstance(facts, list) else facts
    assert facts["weights_sha256"] == chirrup.load("lrac-t1").weights_sha256
    assert Path(facts["folder"]).name == COMMIT
    assert sorted(hub.downloaded) == sorted(f"bird/song/{file}" for file in FILES)
    for name, offline in (
        (NAME, {}),
        (f"{NAME}@{COMMIT}", {}),
        (NAME, {"HF_HUB_OFFLINE": "1"}),
        (NAME, {"HF_ENDPOINT": "http://127.0.0.1:9"}),
    ):
        assert info(name, environment | offline) == (0, output)
    assert len(hub.downloaded) == len(FILES)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://bird/text", "bird/text is not a model folder of chirrup: the repository has no"),
        ("hf://bird/newer", "is of model format 99"),
        ("hf://bird/none", "there is no repository hf://bird/none"),
        (f"{NAME}@v9", f"{NAME}@v9 has no such revision: give a branch"),
        ("hf://bird/so--ng", "there is no repository hf://bird/so--ng"),
    ],
)
def test_an_address_without_a_model(name: str, words: str, hub: FakeHub, tmp_path: Path) -> None:
    code, error = info(name, hub.environment(tmp_path))
    assert (code, error.count("chirrup: error: "), error.count("Traceback")) == (2, 1, 0), error
    assert words in error


def test_a_model_that_is_nowhere(hub: FakeHub, tmp_path: Path) -> None:
    code, error = info(NAME, hub.environment(tmp_path) | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert (code, error.count("chirrup: error: "), error.count("Traceback")) == (2, 1, 0), error
    assert f"{NAME} cannot be downloaded and is not in the cache" in error


def test_without_the_extra() -> None:
    code, error = info(NAME, {}, "import sys; sys.modules['huggingface_hub'] = None")
    assert code == 2
    assert "huggingface_hub, which is not installed: pip install 'chirrup[hub]'" in error


@pytest.mark.parametrize("name", ["hf://song", "hf://bird/song/model.json", "hf://bird/song@"])
def test_an_address_of_another_form(name: str) -> None:
    with pytest.raises(chirrup.ModelError, match="is not an address of a model: use hf://owner"):
        chirrup.load(name)


def test_a_bare_repository_name_is_not_downloaded() -> None:
    with pytest.raises(chirrup.ModelError, match="hf://bird/song loads it from the hub"):
        chirrup.load("bird/song")


def test_evaluate_takes_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chirrup.model_folders.download", lambda _: FOLDER / "lrac-t1")
    peer = find(NAME)
    assert (peer.name, peer.sample_rate_hz) == ("song", 24_000)


def test_from_pretrained_is_load() -> None:
    codec = chirrup.Codec.from_pretrained("lrac-t1", threads=2)
    assert isinstance(codec, chirrup.Codec)
    assert (codec.folder, codec.threads) == (FOLDER / "lrac-t1", 2)
