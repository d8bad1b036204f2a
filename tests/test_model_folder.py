"""Model folders that are damaged, missing or given as a string."""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import chirrup
from chirrup.runtime.native import HASH, HASHED_FROM
from installed_engines import needs_native
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


def flip_a_bit(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return damage


def rewrite_program(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    """Change the program and state the new hash."""

    def damage(folder: Path) -> None:
        data = bytearray((folder / "model.chirp").read_bytes())
        change(data)
        data[HASH] = hashlib.sha256(data[HASHED_FROM:]).digest()
        (folder / "model.chirp").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        about = json.loads((folder / "model.json").read_text()) | {"program_sha256": sha256}
        (folder / "model.json").write_text(json.dumps(about))

    return damage


def with_number(at: int, number: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into("<I", data, at, number)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no json": (remove("model.json"), "no model .* model.json"),
    "no weights": (remove("model.safetensors"), "model.safetensors cannot be read: No such file"),
    "no graph": (remove("encoder.onnx"), "encoder.onnx cannot be read: No such file"),
    "no frame graph": (remove("decoder-frame.onnx"), "decoder-frame.onnx cannot be read"),
    "a flipped bit": (
        flip_a_bit("model.safetensors"),
        "model.safetensors is damaged: its hash is wrong",
    ),
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


PROGRAM_DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no file": (remove("model.chirp"), "model.chirp is missing: install, export or download"),
    "a flipped bit": (flip_a_bit("model.chirp"), "model.chirp is damaged: its hash is wrong"),
    "another hash": (change("program_sha256", "0" * 64), "its hash is wrong"),
    "no hash": (change("program_sha256", None), "names no model.chirp for the native engine"),
    "not a hash": (change("program_sha256", 7), "'program_sha256' is 7, must be 64 hexadecimal"),
    "a newer version": (rewrite_program(with_number(8, 2)), "cannot be opened: the version"),
    "other frames": (rewrite_program(with_number(HASHED_FROM + 24, 479)), "damaged"),
    "other codes": (rewrite_program(with_number(HASHED_FROM + 28, 3)), "damaged"),
    "a large state": (rewrite_program(with_number(HASHED_FROM + 16, 1 << 27)), "would take"),
}


def check_refusal(folder: Path, damage: Callable[[Path], None], words: str, engine: str) -> None:
    damage(folder)
    with pytest.raises(chirrup.ModelError, match=words) as caught:
        chirrup.load(folder, engine=engine).engines()
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_refused(small_export: Exported, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    check_refusal(folder, *DAMAGE[name], "onnx")


@needs_native
@pytest.mark.parametrize("name", PROGRAM_DAMAGE)
def test_a_damaged_program_is_refused(small_export: Exported, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    check_refusal(folder, *PROGRAM_DAMAGE[name], "native")


@needs_native
def test_an_engine_reads_only_its_own_files(small_export: Exported, tmp_path: Path) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    (folder / "model.chirp").unlink()
    assert chirrup.load(folder, engine="onnx").encode(speech_like(1000)).data.shape[1] > 0
    shutil.copy(small_export.folder / "model.chirp", folder)
    for path in (*folder.glob("*.onnx"), folder / "model.safetensors"):
        path.unlink()
    assert chirrup.load(folder, engine="native").encode(speech_like(1000)).data.shape[1] > 0
    with pytest.raises(
        chirrup.ModelError, match="no ONNX graphs: ONNX Runtime and chirrup export need the graphs"
    ):
        chirrup.load(folder, engine="onnx")


@pytest.mark.parametrize("data", [b"", b"not a graph", None])
def test_a_damaged_graph_is_named(
    small_export: Exported, tmp_path: Path, data: bytes | None
) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    graph = folder / "encoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-3000] if data is None else data)
    with pytest.raises(chirrup.ModelError, match=r"encoder\.onnx is damaged"):
        chirrup.load(folder, engine="onnx").encode(speech_like(1000))


def test_an_unknown_model_lists_what_there_is(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chirrup.model_folders.FOLDER", tmp_path)
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
