"""Writing of a corpus's audio as files, or as shards: tar files that webdataset reads.

A sample in a shard consists of, for example, ``speech_train/vctk__p225__000.flac`` and a ``.json``
with its facts. A room response also has ``.early.flac``, the early part for dry targets.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.data import rooms
from chirrup.data.audio import (
    BadAudioError,
    encoded,
    opened,
    read,
    resample,
    simulated_room,
    source_of,
)
from chirrup.data.item import Item
from chirrup.data.manifest import FIGURES
from chirrup.data.recipe import Output, Recipe, recipe_of
from chirrup.data.store import Stored, early_name
from chirrup.errors import FileError
from chirrup.files.drafts import open_draft
from chirrup.files.tars import add_member

ROOM_BITS = 24
"""Bits of a sample of a room response, whose quiet tail needs more than 16."""


@dataclass(frozen=True)
class Member:
    """A recording to be written.

    Attributes:
        path: path in the corpus.
        form: ``flac``, ``opus``, or ``copy`` for the unchanged file.
        item: fields of its `Item`.
        record: result of its measurement.
    """

    path: str
    form: str
    item: dict[str, Any]
    record: dict[str, Any]


def member(clip: Stored, stem: str, recipe: Recipe) -> Member:
    """Return the member for a clip.

    Args:
        clip: the clip.
        stem: path in the corpus without its ending.
        recipe: the recipe.
    """
    output = recipe.output.get(clip.item.kind, Output())
    form = "flac" if output.format == "keep" else output.format
    ending = ".opus" if form == "opus" else ".flac"
    if output.format == "keep" and _unchanged(clip, output):
        form, ending = "copy", Path(clip.item.path).suffix.lower()
    return Member(stem + ending, form, clip.item.as_json(), clip.record)


def _unchanged(clip: Stored, output: Output) -> bool:
    record, whole = clip.record, clip.item.row < 0 and not clip.item.path.startswith(rooms.PREFIX)
    same_rate = output.rate_hz in (0, record["sample_rate_hz"])
    same_channels = record["channels"] == 1 or not output.mono
    return whole and same_rate and same_channels and record.get("pieces", 1) == 1


def slug(text: str) -> str:
    """Return a text as a file name without dots, because a dot ends the key of webdataset."""
    return re.sub(r"__+", "__", re.sub(r"[^\w-]", "_", text.replace(":", "__")))


def job(folder: Path, name: str, members: Iterable[Member], recipe: Recipe) -> str:
    """Return a job for `write`. ``name`` is the name of the tar file, or of a batch of files."""
    plain = recipe.plain()
    settings = {key: plain[key] for key in ("output", "rooms", "early_ms", "shard_minutes")}
    every = [asdict(one) for one in members]
    return json.dumps({"folder": str(folder), "name": name, "members": every, "settings": settings})


def plan_of(job: str) -> str:
    """Return a hash of the job without its folder, which identifies the content to write."""
    given = json.loads(job)
    return hashlib.sha256(json.dumps({**given, "folder": ""}).encode()).hexdigest()


def write(job: str) -> str:
    """Write a shard or a batch of files. Each file appears whole or not at all.

    Returns:
        ``{"name": ..., "members": [...]}`` with columns of the manifest for each member, or
        ``{"error": ...}``.
    """
    given = json.loads(job)
    recipe = recipe_of(given["settings"])
    members = [Member(**one) for one in given["members"]]
    target = Path(given["folder"], given["name"])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if recipe.shard_minutes:
            rows = _write_tar(target, members, recipe)
        else:
            rows = [_write_files(Path(given["folder"]), one, recipe) for one in members]
    except FileError as error:
        return json.dumps({"error": str(error)})
    except OSError as error:
        return json.dumps({"error": f"{error.filename or target}: {error.strerror or error}"})
    return json.dumps({"name": given["name"], "members": rows})


def _write_tar(target: Path, members: Iterable[Member], recipe: Recipe) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with open_draft(target) as draft, tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
        for one in members:
            row, files = _made(one, recipe)
            files[one.path.rpartition(".")[0] + ".json"] = _facts(one)
            offsets = [add_member(tar, name, data) for name, data in files.items()]
            rows.append(row | {"offset": offsets[0]})
    return rows


def _write_files(folder: Path, one: Member, recipe: Recipe) -> dict[str, Any]:
    row, files = _made(one, recipe)
    for name, data in files.items():
        with open_draft(folder / name) as draft:
            draft.write_bytes(data)
    return row


def _facts(one: Member) -> bytes:
    facts = {key: value for key, value in one.item.items() if key not in ("path", "row", "name")}
    figures = {key: value for key, value in one.record.items() if key in FIGURES}
    return json.dumps(facts | figures, sort_keys=True, ensure_ascii=False).encode()


def _made(one: Member, recipe: Recipe) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return columns of the manifest for a recording, and its files by name, the audio first."""
    item, record = Item(**one.item), one.record
    files: dict[str, bytes] = {}
    seconds, rate_hz, channels = (record[key] for key in ("seconds", "sample_rate_hz", "channels"))
    if one.form == "copy":
        files[one.path] = Path(item.path).read_bytes()
    if one.form != "copy" or item.kind == "rir":
        audio, new_rate_hz = _converted(item, record, recipe)
        bits = ROOM_BITS if item.kind == "rir" else 16
        if one.form != "copy":
            files[one.path] = encoded(audio, new_rate_hz, one.form, bits)
            rate_hz, channels = new_rate_hz, len(audio)
            seconds = audio.shape[1] / rate_hz
        if item.kind == "rir" and recipe.early_ms:
            early = rooms.early_part(audio[0], new_rate_hz, recipe.early_ms)[None]
            name = early_name(one.path)
            files[name] = encoded(early, new_rate_hz, "flac", bits)
    row = {"path": one.path, "seconds": seconds, "sample_rate_hz": rate_hz, "channels": channels}
    data = files[one.path]
    return row | {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}, files


def _converted(item: Item, record: dict[str, Any], recipe: Recipe) -> tuple[np.ndarray, int]:
    """Convert a recording to the format of the recipe.

    Returns:
        ``float32 [channels, samples]`` and the sample rate.

    Raises:
        FileError: the file has changed since it was measured.
    """
    output = recipe.output.get(item.kind, Output())
    if item.path.startswith(rooms.PREFIX):
        audio, rate_hz = simulated_room(item, recipe.rooms), recipe.rooms.rate_hz
    else:
        try:
            with opened(source_of(item)) as file:
                audio, rate_hz = read(file, record["start"], record["stop"]), file.samplerate
        except BadAudioError as error:
            raise FileError(f"{item.key} can no longer be read ({error}): start again") from error
    if item.kind == "rir":
        audio = audio[record["channel"]][None]
    elif output.mono:
        audio = audio.mean(axis=0, keepdims=True)
    new_rate_hz = output.rate_hz or rate_hz
    audio = resample(audio, rate_hz, new_rate_hz)
    if item.kind == "rir":
        audio = rooms.from_direct_path(audio[0])[None]
    return audio, new_rate_hz
