"""The job of a worker: the recordings of a shard to codes, and the codes to the shard."""

import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from chirrup.codec import Codec
from chirrup.data.audio import BadAudioError, opened, read_blocks
from chirrup.errors import FileError
from chirrup.files.drafts import writing_into
from chirrup.resampling import length_at, resample_blocks
from chirrup.tokens.formats import FORMATS
from chirrup.tokens.layouts import flatten
from chirrup.tokens.rows import Row, Settings
from chirrup.tokens.sources import Recording
from chirrup.zoo import load

DATASET, INDEX, IDS, FAILURES = "dataset.json", "index.npy", "ids.txt", "failures.jsonl"
"""Files of a whole data set, beside its shards."""
SHARDS = "shards"
"""Folder of the shards in a data set. Shar allows no other files in it."""
CRASH = "it ended the process"
"""The fault of a recording that ends its process, perhaps because the memory is too small."""


def job(
    folder: Path, number: int, recordings: list[Recording], settings: Settings, model: str
) -> str:
    """Return a job for `run`: a shard by its number.

    Args:
        model: name or folder of the model.
    """
    every = [{key: x for key, x in asdict(one).items() if x not in ("", -1)} for one in recordings]
    given = {"number": number, "recordings": every, "settings": asdict(settings), "model": model}
    return json.dumps({"folder": str(folder), **given})


def run(job: str) -> str:
    """Tokenise the recordings of a shard and write it, if a recording can be read.

    Returns:
        ``number``, ``rows`` (a list of id, both places, frames and samples), ``sizes`` (see
        `sizes_of`), ``seconds`` of audio, ``failures`` (dictionaries with id, path and reason) and
        ``may_pass`` (whether the cause of a failure may pass, so that it is worth a second try), or
        ``error`` if the shard cannot be written.
    """
    given = json.loads(job)
    folder, number = Path(given["folder"]), given["number"]
    settings = Settings(**given["settings"])
    rows: list[tuple[Any, ...]] = []
    failures: list[dict[str, str]] = []
    seconds, may_pass = 0.0, False
    try:
        codec = _codec(given["model"], settings)
        with ExitStack() as shard, writing_into(folder), open_mark(folder, number) as mark:
            add = None
            for index, fields in enumerate(given["recordings"]):
                recording = Recording(**fields)
                mark(index)
                try:
                    found = list(_rows(codec, recording, settings))
                except (BadAudioError, FileError, OSError, ValueError, MemoryError) as error:
                    failures.append(failure(recording, str(error) or "the memory is too small"))
                    may_pass |= recording.fault == CRASH or _may_pass(error)
                    continue
                if add is None:
                    writer = FORMATS[settings.format].open_writer
                    add = shard.enter_context(writer(folder / SHARDS, number, settings))
                for row in found:
                    tokens = flatten(row.codes, settings.codebook_size, settings.flatten)
                    place = add(row, np.ascontiguousarray(tokens))
                    rows.append((row.id, *place, row.codes.shape[1], row.samples))
                    seconds += row.duration_s
        if add is None:  # no recording can be read
            remove_shard(folder, number, settings)
        sizes = sizes_of(folder, number, settings)
    except FileError as error:
        return json.dumps({"error": str(error)})
    result = {"number": number, "rows": rows, "sizes": sizes, "seconds": seconds}
    return json.dumps({**result, "failures": failures, "may_pass": may_pass})


def sizes_of(folder: Path, number: int, settings: Settings) -> list[int]:
    """Return the sizes of the files of a shard in bytes; -1 for a missing file."""
    paths = _paths(folder, number, settings)
    return [path.stat().st_size if path.is_file() else -1 for path in paths]


def remove_shard(folder: Path, number: int, settings: Settings) -> None:
    """Remove the files of a shard."""
    for path in _paths(folder, number, settings):
        path.unlink(missing_ok=True)


def shard_files(folder: Path) -> list[Path]:
    """Return the files of all shards in all formats, by their names."""
    return [path for path in (folder / SHARDS).glob("*") if _is_shard(path.name)]


def _is_shard(name: str) -> bool:
    digits = re.search("[0-9]{6,}", name)
    return digits is not None and any(
        name in form.names(int(digits[0])) for form in FORMATS.values()
    )


def _paths(folder: Path, number: int, settings: Settings) -> list[Path]:
    return [folder / SHARDS / name for name in FORMATS[settings.format].names(number)]


def failure(recording: Recording, reason: str) -> dict[str, str]:
    """Return an entry of ``failures.jsonl``."""
    return {"id": recording.id, "path": recording.path, "reason": " ".join(reason.split())}


def _may_pass(error: Exception) -> bool:
    """Return whether an error is of the machine, not of the recording."""
    kinds = (OSError, MemoryError)
    return isinstance(error, kinds) or isinstance(error.__cause__, kinds)


@lru_cache(maxsize=2)
def _codec(model: str, settings: Settings) -> Codec:
    codec = load(model, engine=settings.engine)
    if codec.codes_sha256 != settings.weights_sha256:
        raise FileError(
            f"{model} has other weights here ({codec.codes_sha256[:8]}) than where the command "
            f"was started ({settings.weights_sha256[:8]}): install the same version everywhere"
        )
    return codec


# --- recordings ----------------------------------------------------------------------------------


def _rows(codec: Codec, recording: Recording, settings: Settings) -> Iterator[Row]:
    """Encode a recording, each segment as a separate signal."""
    if recording.fault:
        raise FileError(recording.fault)
    with opened(recording.source()) as file:
        rate_hz, frames = file.samplerate, file.frames
        if not frames:
            raise BadAudioError("empty", "it has no samples")
        step = round(settings.segment_seconds * rate_hz) or frames
        for start in range(0, frames, step):
            stop = min(start + step, frames)
            codes = _encoded(codec, file, start, stop, settings)
            for stream, data in enumerate(codes):
                is_one = settings.separate and len(codes) > 1
                name = recording.id + (f"#{start // step:04d}" if step < frames else "")
                yield Row(
                    id=name + (f"#c{stream}" if is_one else ""),
                    path=recording.path,
                    start_s=start / rate_hz,
                    duration_s=(stop - start) / rate_hz,
                    sample_rate_hz=rate_hz,
                    channels=file.channels,
                    channel=stream if is_one else -1,
                    speaker=recording.speaker,
                    text=recording.text,
                    samples=length_at(stop - start, rate_hz, codec.sample_rate_hz),
                    codes=data,
                )


def _encoded(
    codec: Codec, file: soundfile.SoundFile, start: int, stop: int, settings: Settings
) -> np.ndarray:
    """Encode a part of a file to ``[streams, codebooks, frames]``."""
    blocks = (block.T for block in read_blocks(file, start, stop))
    channels = file.channels
    if channels > 1 and codec.channels == 1 and not settings.separate:
        blocks, channels = (block.mean(axis=0, keepdims=True) for block in blocks), 1
    native = resample_blocks(blocks, channels, file.samplerate, codec.input_rate_hz)
    pieces = codec.encode_blocks(native, settings.codebooks, channels)
    return np.concatenate([*pieces], axis=2)


# --- crashes -------------------------------------------------------------------------------------


@contextmanager
def open_mark(folder: Path, number: int) -> Generator[Callable[[int], None], None, None]:
    """Store which recording of a shard is being read, so that a crash can be attributed to it."""
    path = _mark(folder, number)
    with path.open("w", buffering=1) as file:

        def mark(index: int) -> None:
            file.seek(0)
            file.write(f"{index}\n")

        try:
            yield mark
        finally:
            path.unlink(missing_ok=True)


def crashed(job: str) -> str:
    """Return the result of a job that ended its process: its number, and where it ``crashed``.

    Raises:
        FileError: the process ended before it read a recording.
    """
    given = json.loads(job)
    path = _mark(Path(given["folder"]), given["number"])
    try:
        index = int(path.read_text() or 0)
    except FileNotFoundError as error:
        raise FileError("a process was killed: is there enough memory?") from error
    path.unlink()
    return json.dumps({"number": given["number"], "crashed": index})


def remove_marks(folder: Path) -> None:
    """Remove what a killed run has left."""
    for path in folder.glob(".reading-*"):
        path.unlink()


def _mark(folder: Path, number: int) -> Path:
    return folder / f".reading-{number:06d}"
