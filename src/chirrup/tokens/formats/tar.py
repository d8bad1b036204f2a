"""Shards as tar files: for webdataset, and for Lhotse as Shar.

webdataset reads ``KEY.codes.npy`` and ``KEY.json``. Shar has ``codes.000000.tar`` with the codes of
each cut, and ``cuts.000000.jsonl.gz``. Files have no times and owners, so that equal rows give
equal bytes.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError
from chirrup.files.drafts import written
from chirrup.files.tars import add_member
from chirrup.parsing import parsing
from chirrup.tokens.formats.form import Add, Place, stamp_of
from chirrup.tokens.rows import COLUMNS, Row, Settings, columns_of

MOST_CUTS_BYTES, MOST_EXPANSION = 1 << 26, 100
"""Largest size of the cuts of a shard: a constant, and a multiple of the size of the file."""


def _npy(array: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.save(memory, array, allow_pickle=False)
    return memory.getvalue()


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _read_array(path: Path, place: int) -> np.ndarray:
    try:
        with parsing(), path.open("rb") as file:
            file.seek(place)
            return np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _read_line(path: Path, place: int) -> dict[str, Any]:
    try:
        with parsing(), path.open("rb") as file:
            file.seek(place)
            return json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> FileError:
    return FileError(f"{path} cannot be read as a shard of tokens: {error}")


# --- webdataset ----------------------------------------------------------------------------------


def webdataset_names(number: int) -> list[str]:
    """Return the names of the files of a shard."""
    return [f"tokens-{number:06d}.tar"]


@contextmanager
def open_webdataset(folder: Path, number: int, settings: Settings) -> Generator[Add, None, None]:
    """Open a shard for writing; it appears whole or not at all."""
    with (
        written(folder / webdataset_names(number)[0]) as draft,
        tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar,
    ):

        def add(row: Row, tokens: np.ndarray) -> Place:
            key = row.id.replace(".", "_")  # a dot ends the key; see `ids.DistinctIds`
            codes = add_member(tar, f"{key}.codes.npy", _npy(tokens))
            return codes, add_member(tar, f"{key}.json", _line(columns_of(row, settings)))

        yield add


def read_webdataset(
    folder: Path, number: int, position: int, place: Place
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the columns and the stored codes of a row.

    Raises:
        FileError: the shard cannot be read.
    """
    path = folder / webdataset_names(number)[0]
    return _read_line(path, place[1]), _read_array(path, place[0])


def read_webdataset_codes(folder: Path, number: int, position: int, place: Place) -> np.ndarray:
    """Return the stored codes of a row, as `read_webdataset`."""
    return _read_array(folder / webdataset_names(number)[0], place[0])


# --- Shar ----------------------------------------------------------------------------------------


def shar_names(number: int) -> list[str]:
    """Return the names of the files of a shard."""
    return [f"codes.{number:06d}.tar", f"cuts.{number:06d}.jsonl.gz"]


@contextmanager
def open_shar(folder: Path, number: int, settings: Settings) -> Generator[Add, None, None]:
    """Open a shard for writing; both files appear whole or not at all."""
    codes, cuts = (folder / name for name in shar_names(number))
    with (
        written(codes) as codes_draft,
        written(cuts) as cuts_draft,
        tarfile.open(codes_draft, "w", format=tarfile.PAX_FORMAT) as tar,
        cuts_draft.open("wb") as file,
        gzip.GzipFile("", "wb", mtime=0, fileobj=file) as lines,
    ):

        def add(row: Row, tokens: np.ndarray) -> Place:
            array = np.ascontiguousarray(tokens.T) if settings.flatten == "none" else tokens
            place = add_member(tar, f"{row.id}.npy", _npy(array))
            about = add_member(tar, f"{row.id}.json", _line(_array(array, settings)))
            lines.write(_line(_cut(row, settings)))
            return place, about

        yield add


def _array(stored: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Return the manifest of an array.

    Codes that are not rearranged are ``[frames, codebooks]``, because Lhotse takes the codes of a
    part of a cut from the first axis.
    """
    empty = {"storage_type": "shar", "storage_path": "", "storage_key": ""}
    array = {**empty, "shape": list(stored.shape)}
    if settings.flatten != "none":
        return array
    shift = 1 / settings.frame_rate_hz
    return {"array": array, "temporal_dim": 0, "frame_shift": shift, "start": 0}


def _cut(row: Row, settings: Settings) -> dict[str, Any]:
    """Return a cut as long as its frames, with a supervision as long as the audio.

    Lhotse cuts and joins only cuts that have a recording, so there is one without a source.
    """
    facts = columns_of(row, settings)
    custom = {name: facts[name] for name in COLUMNS if name not in ("id", "speaker", "text")}
    speech = {"id": row.id, "recording_id": row.id, "start": 0, "channel": 0}
    speech |= {"duration": row.duration_s, "text": row.text, "speaker": row.speaker}
    duration = row.codes.shape[1] / settings.frame_rate_hz
    recording = {
        "id": row.id,
        "sources": [{"type": "shar", "channels": [0], "source": ""}],
        "sampling_rate": settings.sample_rate_hz,
        "num_samples": row.codes.shape[1] * settings.frame_samples,
        "duration": duration,
    }
    cut = {"id": row.id, "start": 0, "duration": duration, "channel": 0, "recording": recording}
    return {**cut, "supervisions": [speech], "custom": custom, "type": "MonoCut"}


def read_shar(
    folder: Path, number: int, position: int, place: Place
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the columns and the stored codes of a row.

    Raises:
        FileError: the shard cannot be read.
    """
    cuts = folder / shar_names(number)[1]
    try:
        with parsing():
            cut = json.loads(_lines(cuts, stamp_of(cuts))[position])
            (speech,) = cut["supervisions"]
            names = {name: speech[name] for name in ("speaker", "text")}
            facts = {"id": cut["id"], **names, **cut["custom"]}
    except (OSError, ValueError) as error:
        raise _unreadable(cuts, error) from error
    return facts, read_shar_codes(folder, number, position, place)


def read_shar_codes(folder: Path, number: int, position: int, place: Place) -> np.ndarray:
    """Return the stored codes of a row, as `read_shar`."""
    path = folder / shar_names(number)[0]
    has_time = "temporal_dim" in _read_line(path, place[1])
    stored = _read_array(path, place[0])
    return stored.T if has_time else stored


@lru_cache(maxsize=4)
def _lines(path: Path, stamp: tuple[int, ...]) -> list[bytes]:
    """Return the lines of a compressed file, cached for the next rows."""
    most = MOST_CUTS_BYTES + MOST_EXPANSION * path.stat().st_size
    with gzip.open(path) as file:
        data = file.read(most)
        if file.read(1):
            raise ValueError(f"it has more than {most} bytes of cuts")
    return data.splitlines()
