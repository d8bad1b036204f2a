"""Tampered model folders and checkpoints: each has to load and run, or to raise ModelError.

    python tests/support/fuzzing.py [--rounds 1000] [--seed 0] [--what models checkpoints ...]

Each round of those two is a process of its own, which may take `MOST_SECONDS` of CPU time, and
memory beyond its start of `MOST_EXPANSION` times the input and `MOST_BYTES`. A round that breaks a
rule is printed with its number; the same seed and number give it again. Packets and files, of which
a million rounds take minutes, are in `fuzzing_bitstream`.
"""

import argparse
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chirrup
import fuzzing_bitstream
from chirrup.cli.models import score_lines, summary
from chirrup.lab.audit.comparison import compare_description
from chirrup.zoo import FOLDER

if TYPE_CHECKING:
    from chirrup.lab.training.loop import Trainer

MOST_SECONDS = 2
MOST_EXPANSION, MOST_BYTES = 20, 64 << 20
MODELS = ("lrac-t1", "tq-small")
VALUES: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 255, 1000, 65_536, 10**6, 10**9, 2**31, 2**63, 10**300),
    *(0.5, 24_000.0, 1e308, float("nan"), float("inf"), True, False, None),
    *("", "x", "\ud800", "../x", "a" * 300, [], [0], [10**6, 10**6], [[]], {}, {"x": 1}),
]


# --- model folders -------------------------------------------------------------------------------


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
    """Load, describe, code and decode whole and live."""
    codec = chirrup.load(folder)
    score_lines(summary(codec))
    compare_description(codec.description, 0)
    chunk = codec.chunk_frames * codec.input_frame_samples
    audio = np.random.default_rng(0).normal(0, 0.1, 3 * chunk).astype(np.float32)
    encoder, decoder = codec.encoder(), codec.decoder()
    for packet in [*encoder.push(audio[:chunk]), None]:
        assert np.isfinite(decoder.push(packet)).all()
    decoded = codec.decode(codec.encode(audio))
    assert np.isfinite(decoded).all()


# --- checkpoints ---------------------------------------------------------------------------------


def trainer(folder: Path) -> "Trainer":
    """A small training with discriminators."""
    import torch

    import small_lrac
    from chirrup.lab.models import CONFIGS
    from chirrup.lab.training.loop import Trainer
    from tiny_training import LRAC_WAY, tiny_config, with_adversary

    CONFIGS[small_lrac.NAME] = small_lrac.ENTRY
    changes = with_adversary() | LRAC_WAY
    return Trainer(tiny_config(folder, **changes), folder, torch.device("cpu"))


def tampered_checkpoint(content: bytes, draw: random.Random, folder: Path) -> str:
    import torch

    path = folder / "checkpoint.pt"
    if draw.random() < 0.3:
        cut = draw.random() < 0.3
        path.write_bytes(content[: draw.randrange(len(content))] if cut else flipped(content, draw))
        return "bytes"
    saved = torch.load(io.BytesIO(content), weights_only=True)
    values = [
        *(value for value in VALUES if value != "\ud800"),
        torch.zeros(1).expand(10**9),
        torch.full((3,), float("nan")),
        torch.zeros(2, 2, device="meta"),
        torch.zeros(4, 4).to_sparse(),
    ]
    kind, value = draw.random(), draw.choice(values)
    if kind < 0.4:
        fields = ("codebooks", "codebook_size", "latent_dim", "code_dim", "encoder", "decoder")
        changes = {draw.choice((*fields, "sample_rate_hz")): value}
        saved["config"]["model_changes"] = changes
        torch.save(saved, path)
        return f"model_changes: {changes!r}"
    outer = [(saved, key) for key in saved]
    container, key = draw.choice(outer if kind < 0.6 else places(saved))
    if draw.random() < 0.3:
        del container[key]
        value = "nothing"
    else:
        container[key] = value
    torch.save(saved, path)
    return f"{key}: {value!r}"


def use_checkpoint(folder: Path) -> None:
    """Read as a model, pack, and go on."""
    from chirrup.lab.training.checkpoints import load_checkpoint, pack_checkpoint, trained_model

    path, failed = folder / "checkpoint.pt", None
    for action in (
        lambda: trained_model(load_checkpoint(path)),
        lambda: pack_checkpoint(path, folder / "packed.pt"),
        lambda: trainer(folder).restore(path),
    ):
        try:
            action()
        except chirrup.ModelError as error:
            failed = error
    if failed:
        raise failed


# --- rounds --------------------------------------------------------------------------------------


class Models:
    use = staticmethod(use_model)

    @staticmethod
    def tamper(draw: random.Random, folder: Path) -> str:
        folder.rmdir()
        shutil.copytree(FOLDER / draw.choice(MODELS), folder)
        ways = (tamper_value, tamper_value, tamper_text, tamper_weights, tamper_graph, tamper_file)
        return draw.choice(ways)(folder, draw)


class Checkpoints:
    use = staticmethod(use_checkpoint)

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        content = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder:
            torch.save(trainer(Path(folder)).state(), content)
            (Path(folder) / "checkpoint.pt").write_bytes(content.getvalue())
            use_checkpoint(Path(folder))
        self.content = content.getvalue()

    def tamper(self, draw: random.Random, folder: Path) -> str:
        return tampered_checkpoint(self.content, draw, folder)


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def child(target: Models | Checkpoints, name: str, folder: Path, answer: int) -> None:
    """Do one round, and write what was changed and what came of it."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("error")
    change = target.tamper(random.Random(name), folder)
    os.write(answer, " ".join(change.split())[:200].encode(errors="replace") + b"\n")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    signal.alarm(60)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start, before = time.process_time(), peak_bytes()
    try:
        target.use(folder)
        outcome = "ran"
    except chirrup.ModelError:
        outcome = "ModelError"
    except BaseException:
        outcome = traceback.format_exc(limit=-4)
    seconds, grown = time.process_time() - start, peak_bytes() - before
    if seconds > MOST_SECONDS:
        outcome = f"{seconds:.1f} s"
    elif grown > MOST_EXPANSION * size + MOST_BYTES:
        outcome = f"{grown / 1e6:.0f} MB for {size / 1e6:.1f} MB"
    os.write(answer, outcome.encode(errors="replace"))


def rounds(target: Models | Checkpoints, seed: int, count: int) -> Counter[str]:
    """Count the outcomes of ``count`` rounds, and print those that break a rule."""
    outcomes: Counter[str] = Counter()
    for number in range(count):
        reading, writing = os.pipe()
        with tempfile.TemporaryDirectory() as outside:
            folder = Path(outside) / "folder"
            folder.mkdir()
            pid = os.fork()
            if not pid:
                try:
                    child(target, f"{seed} {number}", folder, writing)
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading, "rb") as answer:
                text = answer.read().decode(errors="replace")
            _, status = os.waitpid(pid, 0)
        change, _, outcome = text.partition("\n")
        if not outcome:
            outcome = f"ended by signal {os.WTERMSIG(status)}"
        rule = outcome in ("ran", "ModelError")
        outcomes[outcome if rule else "broken"] += 1
        if not rule:
            print(f"{type(target).__name__} {number}: {change}\n{outcome}\n", flush=True)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", nargs="+", default=["models", "checkpoints", "packets", "files"])
    options = parser.parse_args()
    targets = {"models": Models, "checkpoints": Checkpoints}
    bitstream = {"packets": fuzzing_bitstream.Packets, "files": fuzzing_bitstream.Files}
    broken = 0
    for name in options.what:
        if name in targets:
            outcomes = rounds(targets[name](), options.seed, options.rounds)
        else:
            target = bitstream[name](random.Random(options.seed))
            outcomes = fuzzing_bitstream.rounds(target, options.rounds)
        print(name, dict(outcomes), flush=True)
        broken += outcomes["broken"]
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
