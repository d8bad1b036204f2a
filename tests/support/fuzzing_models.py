"""Tampered model folders: each loads and runs, or raises ModelError. Part of `fuzzing`."""

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import chirrup
from chirrup.cli.models import score_lines, summary
from chirrup.lab.audit.comparison import compare_description
from chirrup.runtime.native import HASH, HASHED_FROM
from chirrup.zoo import FOLDER
from installed_engines import INSTALLED

MODELS = ("lrac-t1", "tq-small")
VALUES: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 255, 1000, 65_536, 10**6, 10**9, 2**31, 2**63, 10**300),
    *(0.5, 24_000.0, 1e308, float("nan"), float("inf"), True, False, None),
    *("", "x", "\ud800", "../x", "a" * 300, [], [0], [10**6, 10**6], [[]], {}, {"x": 1}),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with every key of it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def tamper_value(folder: Path, draw: random.Random) -> str:
    about = json.loads((folder / "model.json").read_text())
    kind = draw.random()
    outer = [(about, key) for key in about]
    container, key = draw.choice(outer if draw.random() < 0.5 else places(about))
    before = repr(container[key])[:40]
    if kind < 0.15:
        del container[key]
        change = f"without {key}"
    elif kind < 0.3:
        container[key] = draw.choice(places(about))[0]
        change = f"{key}: another part"
    elif kind < 0.5 and type(container[key]) is int:
        container[key] = draw.choice((container[key] * 2, container[key] + 1, container[key] - 1))
        change = f"{key}: {before} to {container[key]}"
    else:
        container[key] = draw.choice(VALUES)
        change = f"{key}: {before} to {repr(container[key])[:40]}"
    try:
        text = json.dumps(about)
    except (ValueError, RecursionError):
        text = "{}"  # a part within itself
    (folder / "model.json").write_text(text)
    return change


def tamper_text(folder: Path, draw: random.Random) -> str:
    path = folder / "model.json"
    text = path.read_bytes()
    deep = draw.randrange(1, 100_000)
    content = draw.choice(
        (
            text[: draw.randrange(len(text))],
            flipped(text, draw),
            b"[" * deep,
            b'{"a":' * deep,
            text.replace(b'"codebooks": ', b'"codebooks": ' + b"9" * deep, 1),
            text.replace(b"{", b'{"audit": ' + b"[" * deep + b"]" * deep + b",", 1),
        )
    )
    path.write_bytes(content)
    return "text of model.json"


def tamper_weights(folder: Path, draw: random.Random) -> str:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    kind = draw.randrange(5)
    if kind == 0:
        data = flipped(data[:head], draw) + data[head:]
    elif kind == 1:
        data = draw.choice((0, 1, head, 2**20, 2**63)).to_bytes(8, "little") + data[8:]
    elif kind == 2:
        data = data[: draw.randrange(len(data))]
    elif kind == 3:
        values = np.frombuffer(data[head:], np.uint8).copy()
        start = draw.randrange(len(values) // 2) * 2
        values[start : start + 2] = 0xFF  # NaN in either width
        data = data[:head] + values.tobytes()
    else:
        data = flipped(data, draw)
    path.write_bytes(data)
    if draw.random() < 0.9:
        state(folder, weights_sha256=hashlib.sha256(data).hexdigest())
    return f"model.safetensors, way {kind}"


def tamper_graph(folder: Path, draw: random.Random) -> str:
    name = draw.choice(("encoder", "encoder-frame", "decoder", "decoder-frame"))
    path = folder / f"{name}.onnx"
    data = path.read_bytes()
    kind = draw.randrange(4)
    if kind == 0:
        data = data[: draw.randrange(len(data))]
    elif kind == 1:
        other = draw.choice((b"../../etc/passwd!", b"/etc/hostname!!!!"))
        data = data.replace(b"model.safetensors", other, draw.randrange(1, 3))
    else:
        data = flipped(data, draw)
    path.write_bytes(data)
    if draw.random() < 0.9:
        state(folder, graphs_sha256=None)
    return f"{name}.onnx, way {kind}"


def tamper_program(folder: Path, draw: random.Random) -> str:
    path = folder / "model.chirp"
    if not path.exists():
        return tamper_value(folder, draw)
    data = path.read_bytes()
    heads = draw.random() < 0.7
    changed = bytearray(flipped(data[:4096], draw) + data[4096:] if heads else flipped(data, draw))
    if draw.random() < 0.9:
        changed[HASH] = hashlib.sha256(changed[HASHED_FROM:]).digest()
        state(folder, program_sha256=hashlib.sha256(changed).hexdigest())
    path.write_bytes(changed)
    return f"model.chirp, {'head' if heads else 'anywhere'}"


def tamper_file(folder: Path, draw: random.Random) -> str:
    path = draw.choice(sorted(folder.iterdir()))
    path.unlink()
    kind = draw.choice(("missing", "pipe", "folder", "/dev/zero", "/dev/full", "nowhere", "huge"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif kind != "missing":
        path.symlink_to(kind)
    return f"{path.name}: {kind}"


def state(folder: Path, **changes: Any) -> None:
    """Change values of ``model.json``; None removes one."""
    about = json.loads((folder / "model.json").read_text()) | changes
    about = {key: value for key, value in about.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(about))


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 20))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def use_model(folder: Path) -> None:
    """Load, describe, code and decode whole and live, in each engine."""
    errors: list[chirrup.ModelError] = []
    for engine in INSTALLED:
        try:
            use_codec(chirrup.load(folder, engine=engine))
        except chirrup.ModelError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def use_codec(codec: chirrup.Codec) -> None:
    score_lines(summary(codec))
    compare_description(codec.description, 0)
    chunk = codec.chunk_frames * codec.input_frame_samples
    audio = np.random.default_rng(0).normal(0, 0.1, 3 * chunk).astype(np.float32)
    encoder, decoder = codec.encoder(), codec.decoder()
    for packet in [*encoder.push(audio[:chunk]), None]:
        assert np.isfinite(decoder.push(packet)).all()
    decoded = codec.decode(codec.encode(audio))
    assert np.isfinite(decoded).all()


class Models:
    errors = (chirrup.ModelError,)
    use = staticmethod(use_model)

    @staticmethod
    def tamper(draw: random.Random, folder: Path) -> str:
        folder.rmdir()
        shutil.copytree(FOLDER / draw.choice(MODELS), folder)
        ways = tamper_text, tamper_weights, tamper_graph, tamper_program, tamper_file
        return draw.choice((tamper_value, tamper_value, *ways))(folder, draw)
