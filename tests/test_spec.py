"""Checks of ``model.json`` and the other files of a model. Every fault is a ModelError."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import chirrup
from chirrup.zoo import FOLDER
from installed_engines import needs_native

NOISE = np.random.default_rng(0).normal(0, 0.1, 2400).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(FOLDER / "lrac-t1", tmp_path / "model")


def change(folder: Path, **values: Any) -> None:
    about = json.loads((folder / "model.json").read_text()) | values
    (folder / "model.json").write_text(json.dumps(about))


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.json").read_text())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"sample_rate_hz": "24000"}, "'sample_rate_hz' is '24000', must be a whole number"),
    "fraction": ({"codebooks": 6.0}, "'codebooks' is 6.0, must be a whole number"),
    "boolean": ({"channels": True}, "'channels' is True, must be a whole number"),
    "no channel": ({"channels": 0}, "channels is 0, must be from 1 to 16"),
    "negative": ({"delay_samples": -1}, "'delay_samples' is -1, must be a whole number"),
    "most codebooks": ({"codebooks": 10**9}, "codebooks is 1000000000, must be from 1 to 128"),
    "longest delay": ({"delay_samples": 10**9}, "delay_samples is 1000000000, must be from 0"),
    "no chunk": ({"chunk_frames": 0}, "chunk_frames is 0, must be from 1 to 50"),
    "no frame": ({"frame_samples": 0}, "frame_samples is 0, must be from 1 to 24000"),
    "one code": ({"codebook_size": 1}, "codebook_size is 1, must be from 2 to 65536"),
    "rates": ({"input_rate_hz": 16_000}, "240 samples at 24000 Hz, but 240 at 16000 Hz"),
    "bitrate": ({"default_bitrate_bps": 999}, "default_bitrate_bps is 999, must be one of 1000, 2"),
    "no bitrate": ({"codebooks": 3}, "default_bitrate_bps is 6000, must be one of"),
    "name": ({"name": "a\nb"}, r"name is 'a\\nb', must be 1 to 255 bytes"),
    "states": ({"states": {"encoder": [], "decoder": {}}}, r"'encoder' is \[\], must be an object"),
    "shape": ({"states": {"encoder": {"x": [-1]}, "decoder": {}}}, r"'x' is \[-1\]"),
    "no shape": ({"states": {"encoder": {"x": []}, "decoder": {}}}, "has no dimensions"),
    "memory": (
        {"states": {"encoder": {"x": [10**6, 10**6]}, "decoder": {}}},
        "take 400000. MB",
    ),
    "weights": ({"weights": {"encoder": {}}}, "weights has no encoder-frame"),
    "place": ({"weights": {"encoder": {"x": {"shape": [1]}}}}, "model.json has no 'tensor'"),
    "path": ({"weights": {"../encoder": {}}}, "weights has a graph '../encoder'"),
    "matrix": (
        {"weights": {"encoder": {"x": {"waves": "cosines", "n_fft": 20_000}}}},
        "must be a Fourier matrix",
    ),
    "hash": ({"weights_sha256": "00"}, "'weights_sha256' is '00', must be 64 hexadecimal digits"),
    "graphs": ({"graphs_sha256": {"encoder": "0" * 64}}, "other graphs than weights"),
    "program": ({"program_sha256": "0" * 64, "channels": 2}, "a program codes one channel"),
    "lost frames": ({"lost_frames": 1}, "lost_frames is 1, must be model or repeat"),
    "audit": ({"audit": {"parts": {"encoder": {"mflops": "many"}}}}, "'mflops' is 'many'"),
    "scores": ({"training": {"scores": {"pesq_wb": {"1_kbps": None}}}}, "'1_kbps' is None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_named(folder: Path, name: str) -> None:
    values, words = WRONG[name]
    change(folder, **values)
    with pytest.raises(chirrup.ModelError, match=f"not a whole model folder: .*{words}"):
        chirrup.load(folder, engine="onnx")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"format": ' + "9" * 5000 + "}", '{"format": NaN}', "{}"],
    ids=["list", "object", "number", "nan", "empty"],
)
def test_a_text_that_is_no_description_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(chirrup.ModelError, match=r"model\.json|of model format nan"):
        chirrup.load(folder)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("model.json", "onnx"),
        ("model.safetensors", "onnx"),
        ("encoder.onnx", "onnx"),
        pytest.param("model.chirp", "native", marks=needs_native),
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "huge"])
def test_a_special_or_huge_file_is_not_read(
    folder: Path, name: str, engine: str, kind: str
) -> None:
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path.symlink_to(kind)
    words = {"huge": "has 1099511627776 bytes; at most"}.get(kind, "is not a regular file")
    if name == "model.json" and kind != "huge":
        words = "neither a folder with a model.json"
    with pytest.raises(chirrup.ModelError, match=words):
        chirrup.load(folder, engine=engine)


def replace_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    change(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def test_malformed_weights_with_the_right_hash_are_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    for damaged in (content[:-1], content[:8] + b"x" + content[9:], b"\xff" * 8 + content[8:]):
        replace_weights(folder, damaged)
        with pytest.raises(chirrup.ModelError, match=r"model\.safetensors is damaged"):
            chirrup.load(folder, engine="onnx").encode(NOISE)


def test_weights_that_are_missing_or_not_finite_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    places = [weight["tensor"] for weight in described(folder)["weights"]["encoder"].values()]
    place = next(place for place in places if tensors[place].dtype.kind == "f")
    values = tensors[place].copy()
    values[1] = np.nan
    for changed, words in (
        (tensors | {place: values}, "is not finite"),
        (tensors | {place: values[:-1]}, "cannot reshape"),
        ({name: x for name, x in tensors.items() if name != place}, place),
    ):
        replace_weights(folder, save(changed))
        with pytest.raises(chirrup.ModelError, match=f"safetensors is damaged: tensor .*{words}"):
            chirrup.load(folder, engine="onnx").encode(NOISE)


@pytest.mark.parametrize("name", chirrup.models())
def test_the_shipped_models_state_all_there_is(name: str) -> None:
    spec = chirrup.load(name).spec
    about = described(FOLDER / name)
    assert spec.latency_samples == spec.chunk_frames * spec.frame_samples + spec.delay_samples
    assert {path.stem for path in (FOLDER / name).glob("*.onnx")} == set(spec.graphs_sha256)
    stated = {key: value for key, value in about.items() if hasattr(spec, key)}
    assert {key: getattr(spec, key) for key in stated} == stated


def test_older_folders_lack_some_values(folder: Path) -> None:
    """Missing values with defaults are filled in, and the codes do not change."""
    expected = chirrup.load(folder).encode(NOISE).data
    about = described(folder)
    for key in (
        "graphs_sha256",
        "program_sha256",
        "input_rate_hz",
        "input_frame_samples",
        "chunk_frames",
        "audit",
    ):
        del about[key]
    for key in ("lowest_bitrate_bps", "training", "parity"):
        about.pop(key, None)
    (folder / "model.json").write_text(json.dumps(about))
    codec = chirrup.load(folder)
    assert codec.lowest_bitrate_bps == codec.bitrates_bps[0]
    assert np.array_equal(codec.encode(NOISE).data, expected)
