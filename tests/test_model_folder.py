"""Model folders that are damaged, missing or given as a string."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import chirrup
from small_model import Exported, speech_like

pytest_plugins = ["models_fixture"]


def change(key: str, value: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        about = json.loads((folder / "model.json").read_text())
        if value is None:
            del about[key]
        else:
            about[key] = value
        (folder / "model.json").write_text(json.dumps(about))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, data: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return damage


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.safetensors").write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no json": (remove("model.json"), "no model .* model.json"),
    "no weights": (remove("model.safetensors"), "model.safetensors cannot be read: No such file"),
    "no graph": (remove("encoder.onnx"), "encoder.onnx cannot be read: No such file"),
    "no frame graph": (remove("decoder-frame.onnx"), "decoder-frame.onnx cannot be read"),
    "a flipped bit": (flip_a_bit, "model.safetensors is damaged: its hash is wrong"),
    "empty weights": (write("model.safetensors", b""), "hash is wrong"),
    "another hash": (change("weights_sha256", "0" * 64), "hash is wrong"),
    "a newer format": (change("format", 3), "format 3; .* reads formats 1 and 2: upgrade chirrup"),
    "no format": (change("format", None), "not a whole model folder: .* no format"),
    "a key less": (
        change("frame_samples", None),
        "whole model folder: model.json has no 'frame_samples'",
    ),
    "cut json": (write("model.json", b'{"format": 1, "na'), "not a whole model folder"),
    "no text": (write("model.json", b"\xff\xfe\x00"), "not a whole model folder"),
    "a list": (write("model.json", b"[1, 2]"), "not a whole model folder"),
    "a number": (write("model.json", b"7"), "not a whole model folder"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_refused(small_export: Exported, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    damage, words = DAMAGE[name]
    damage(folder)
    with pytest.raises(chirrup.ModelError, match=words) as caught:
        chirrup.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"not a graph", None])
def test_a_damaged_graph_is_named(
    small_export: Exported, tmp_path: Path, data: bytes | None
) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    graph = folder / "encoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-3000] if data is None else data)
    with pytest.raises(chirrup.ModelError, match=r"encoder\.onnx is damaged"):
        chirrup.load(folder).encode(speech_like(1000))


def test_an_unknown_model_lists_what_there_is(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chirrup.zoo.FOLDER", tmp_path)
    assert chirrup.models() == []
    with pytest.raises(chirrup.ModelError, match=r"no model 'oris'.*\(none installed\)"):
        chirrup.load("oris")
    for name in ("tiny", "another"):
        shutil.copytree(small_export.folder, tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert chirrup.models() == ["another", "tiny"]
    assert chirrup.load("tiny").name == "small"
    with pytest.raises(chirrup.ModelError, match=r"no model 'oris'.* one of another, tiny"):
        chirrup.load("oris")
    with pytest.raises(chirrup.ModelError, match="no model 'empty'"):
        chirrup.load("empty")


def test_a_folder_loads_from_a_string_too(small_export: Exported) -> None:
    assert chirrup.load(str(small_export.folder)).name == "small"
