"""Tampered manifests and shards of corpora: each is read, or raises the named errors. Part of
`fuzzing`.

Every reader of a corpus gets them: ``chirrup data check``, ``chirrup data prepare`` and training.
"""

import csv
import io
import json
import random
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import soundfile
import torch
from pyarrow import parquet

from chirrup.data import measure
from chirrup.data.check import check
from chirrup.data.layouts import scan
from chirrup.data.manifest import COLUMNS, find_manifest, languages, write_manifest
from chirrup.data.recipe import Recipe
from chirrup.errors import ChirrupError
from chirrup.lab.training.batches.corpus import build_sampler
from chirrup.lab.training.data_config import Conditions, DataConfig
from data_samples import RATE_HZ, here, noise, room, talk
from fuzzing_bitstream import tampered

Rows = list[dict[str, Any]]
SECONDS = 0.3
NAMES = ("speech_train/a__0", "speech_train/b__0", "speech_test/c__0", "noise_train/d", "rir/e")
FORMS = ("wav", "flac", "ogg", "mp3", "flac")
TEXTS = (
    *("", "0", "-1", "1", "7", "1e9", "1e308", "9" * 30, "9" * 5000, "nan", "inf", "x", "\0"),
    *(
        "..",
        "/",
        "/etc/passwd",
        "/dev/zero",
        "../x.wav",
        "a" * 300,
        "b/" * 3000,
        ".",
        "speech_train",
    ),
    *(
        "speech_train/a__0.wav",
        "\ud800",
        '"',
        "a\nb",
        "a,b",
        "é" * 40,
        "\uff11\uff12",
        "1_000",
        " 1",
        "0x10",
    ),
)
VALUES = (
    *TEXTS[:-10],
    b"\xff\xfe",
    0,
    -1,
    1,
    2**40,
    2**63 - 1,
    1e308,
    float("nan"),
    True,
    [1],
    {"a": 1},
)


def sound(name: str, number: int) -> np.ndarray:
    if name.startswith("noise"):
        return noise(SECONDS)
    return room(SECONDS / 2) if name.startswith("rir") else talk(SECONDS, seed=number)


def audio_file(name: str, number: int) -> bytes:
    memory = io.BytesIO()
    form = FORMS[number]
    soundfile.write(memory, sound(name, number), RATE_HZ, format=form)
    return memory.getvalue()


def row(name: str, number: int) -> dict[str, Any]:
    facts = {"kind": name.partition("_")[0].partition("/")[0], "group": name[-4:], "licence": "CC0"}
    seconds = soundfile.info(io.BytesIO(audio_file(name, number))).duration
    rate = {"seconds": seconds, "sample_rate_hz": RATE_HZ, "channels": 1}
    return {"path": f"{name}.{FORMS[number]}", **facts, "language": "en", **rate}


def write_corpus(folder: Path, *, packed: bool) -> Path:
    """Write recordings as files, or in a shard for each folder, and a manifest."""
    rows = [row(name, number) for number, name in enumerate(NAMES)]
    for number, one in enumerate(rows):
        content = audio_file(NAMES[number], number)
        path = folder / one["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not packed:
            path.write_bytes(content)
            continue
        one["shard"] = f"{path.parent.name}/{path.parent.name}-000000.tar"
        with tarfile.open(folder / one["shard"], "a") as tar:
            about = tarfile.TarInfo(one["path"])
            about.size = one["size"] = len(content)
            tar.addfile(about, io.BytesIO(content))
        with tarfile.open(folder / one["shard"]) as tar:
            one["offset"] = tar.getmember(one["path"]).offset_data
    write_manifest(folder / "manifest.csv", iter(rows), "csv")
    return folder


def write_table_of_audio(folder: Path) -> Path:
    """Write a Parquet file of audio, as data sets on the Hugging Face hub have them."""
    contents = [{"bytes": audio_file(name, number)} for number, name in enumerate(NAMES)]
    columns = {"audio": contents, "speaker_id": list("abcde"), "gender": ["female"] * 5}
    parquet.write_table(pyarrow.table(columns), folder / "train.parquet", row_group_size=2)
    return folder


# --- use -----------------------------------------------------------------------------------------


def use_corpus(folder: Path) -> None:
    """Check a corpus, take it as a source of another, and draw a batch of training from it."""
    actions: list[Callable[[], object]] = [lambda: measured("globe", folder)]
    if (folder / "manifest.csv").exists() or (folder / "manifest.parquet").exists():
        actions = [
            lambda: check(folder, here),
            lambda: check(folder, here, quick=True, rate_hz=24_000),
            lambda: languages([folder / f"{NAMES[0]}.wav"]),
            lambda: batch(folder, None),
            lambda: batch(folder, 0.0),
        ]
        if not any(folder.glob("*/*.tar")):  # shards cannot be a source
            actions.append(lambda: measured("manifest", folder))
    failed = None
    for action in actions:
        try:
            action()
        except ChirrupError as error:
            failed = error
    if failed:
        raise failed


def measured(layout: str, folder: Path) -> None:
    settings = measure.settings_of(Recipe())
    for number, item in enumerate(scan(layout, folder)):
        result = json.loads(measure.run(measure.job(number, item.with_facts({}), settings)))
        if "error" in result:
            raise ChirrupError(result["error"])
        for record in result["records"]:
            assert record.get("reason") or record["seconds"] > 0


def batch(folder: Path, memory_gb: float | None) -> None:
    """Draw a batch of recordings that are decoded before, or as they are needed."""
    data = DataConfig(
        manifest=find_manifest(folder),
        cache=folder / "cache",
        memory_gb=memory_gb,
        crop_seconds=0.1,
        conditions=Conditions.model_validate([1, 1, 1, 1, 1]),
    )
    generator = torch.Generator().manual_seed(0)
    sampler = build_sampler(data, 24_000, 240, generator, torch.device("cpu"))
    for audio in sampler.batch(4):
        assert audio.isfinite().all()


# --- tamper --------------------------------------------------------------------------------------


class Manifests:
    """Tables of recordings that are sound: bytes, rows, columns and values are changed."""

    errors = (ChirrupError,)
    use = staticmethod(use_corpus)

    def __init__(self) -> None:
        self.kept = tempfile.TemporaryDirectory()
        self.sound = [Path(self.kept.name, kind) for kind in ("files", "shards")]
        for folder in self.sound:
            write_corpus(folder, packed=folder.name == "shards")
            use_corpus(folder)
            shutil.rmtree(folder / "cache")

    def tamper(self, draw: random.Random, folder: Path) -> str:
        shutil.copytree(draw.choice(self.sound), folder, dirs_exist_ok=True)
        path = folder / "manifest.csv"
        with path.open(newline="", encoding="utf-8") as lines:
            rows: Rows = list(csv.DictReader(lines))
        table = draw.random() < 0.3
        if table or draw.random() < 0.6:
            changes = [tampered_rows(rows, draw) for _ in range(draw.choice((1, 1, 2, 4)))]
        else:
            changes = []
        if table:
            path.unlink()
            path = folder / "manifest.parquet"
            write_parquet(path, rows, draw)
        elif changes:
            write_csv(path, rows, draw)
        if not changes or draw.random() < 0.2:
            path.write_bytes(tampered(path.read_bytes(), draw))
            changes.append("bytes")
        return f"{folder.name} {path.suffix} {changes}"


def tampered_rows(rows: Rows, draw: random.Random) -> str:
    if not rows:
        return "nothing"
    one, way = draw.choice(rows), draw.random()
    keys = [key for key in COLUMNS if any(row.get(key) for row in rows)] or ["path"]
    key = draw.choice(keys)
    if way < 0.1:
        for row in rows:
            row.pop(key, None)
        return f"without {key}"
    if way < 0.2:
        rows.append(dict(one))
        return "a row twice"
    if way < 0.25:
        rows.remove(one)
        return "without a row"
    if way < 0.35:
        one[key] = draw.choice(rows).get(draw.choice(keys), "")
        return f"{key} is another cell"
    one[key] = draw.choice(VALUES)
    return f"{key}: {repr(one[key])[:40]}"


def write_csv(path: Path, rows: Rows, draw: random.Random) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if columns and draw.random() < 0.1:
        columns.append(draw.choice(columns))
    lines = [columns, *([row.get(key, "") for key in columns] for row in rows)]
    for line in lines[:: draw.choice((1, 2))]:
        if draw.random() < 0.05:
            line += ["more", ""]
        elif line and draw.random() < 0.05:
            line.pop(draw.randrange(len(line)))
    memory = io.StringIO()
    writer = csv.writer(memory, delimiter=draw.choice(",,,,,,;\t"), escapechar="\\")
    writer.writerows(lines)
    text = memory.getvalue()
    encoding = draw.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "latin-1"))
    path.write_bytes(text.encode(encoding, "surrogatepass" if "utf" in encoding else "replace"))


def write_parquet(path: Path, rows: Rows, draw: random.Random) -> None:
    columns = dict.fromkeys(key for row in rows for key in row)
    table: dict[str, Any] = {}
    for key in columns:
        cells = [row.get(key) for row in rows]
        try:
            table[key] = pyarrow.array(cells)
        except (pyarrow.ArrowException, ValueError, TypeError, OverflowError):
            texts = [str(cell).encode(errors="replace").decode() for cell in cells]
            table[key] = pyarrow.array(texts)
        if draw.random() < 0.05:
            table[key] = pyarrow.array([[cell.as_py()] for cell in table[key]])
    parquet.write_table(pyarrow.table(table), path)


class Shards:
    """Shards and Parquet files of audio whose bytes are changed, and offsets into shards."""

    errors = (ChirrupError,)
    use = staticmethod(use_corpus)

    def __init__(self) -> None:
        self.kept = tempfile.TemporaryDirectory()
        root = Path(self.kept.name)
        self.packed, self.table = root / "shards", root / "table"
        self.table.mkdir()
        for folder in (write_corpus(self.packed, packed=True), write_table_of_audio(self.table)):
            use_corpus(folder)
        shutil.rmtree(self.packed / "cache")

    def tamper(self, draw: random.Random, folder: Path) -> str:
        kind = draw.choice((self.packed, self.packed, self.table))
        shutil.copytree(kind, folder, dirs_exist_ok=True)
        path = draw.choice(sorted(folder.glob("*/*.tar")) or sorted(folder.glob("*.parquet")))
        way = draw.random()
        if way < 0.15 and kind == self.packed:
            with (folder / "manifest.csv").open(newline="") as lines:
                rows: Rows = list(csv.DictReader(lines))
            one, key = draw.choice(rows), draw.choice(("offset", "size"))
            moved = draw.choice((-512, -1, 1, 7, 44, 512, 4096))
            one[key] = max(0, int(one[key]) + moved)
            write_manifest(folder / "manifest.csv", iter(rows), "csv")
            return f"{kind.name} {key} moved by {moved}"
        data = path.read_bytes()
        rate = RATE_HZ.to_bytes(4, "little")  # of a WAV file
        if way < 0.2 and rate in data:
            other = draw.choice((1, 60, 999, 2000, 2**31 - 1))
            path.write_bytes(data.replace(rate, other.to_bytes(4, "little"), 1))
            return f"{kind.name} {path.name} at {other} Hz"
        if way < 0.4:  # where the heads of the recordings are
            head = draw.choice((0, 512))
            data = data[:head] + tampered(data[head : head + 100], draw) + data[head + 100 :]
        else:
            data = tampered(data, draw)
        path.write_bytes(data)
        return f"{kind.name} {path.name}, way {way:.1f}"
