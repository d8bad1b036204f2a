"""`detokenize`: a data set of tokens back to audio files."""

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from chirrup.codec import Codec
from chirrup.data.workers import Run
from chirrup.errors import FileError
from chirrup.files.coding import Decoded, written_as
from chirrup.files.decoders import than_here
from chirrup.files.drafts import only_one
from chirrup.files.outputs import open_sink
from chirrup.resampling import checked_rate, resample_blocks
from chirrup.tokens.making import write_failures
from chirrup.tokens.reader import Tokens
from chirrup.tokens.rows import Row
from chirrup.zoo import load

JOB_ROWS = 100
"""Rows of a job."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that takes no file. After any other error, the run goes on with the next row."""
MOST_PARTS = 100
"""Most folders in an id. Deeper ones are difficult to remove, for example with `shutil.rmtree`."""


@dataclass(frozen=True)
class Detokenized:
    """The result of `detokenize`.

    Attributes:
        files: number of files that this run has written.
        skipped: number of files that existed.
        failures: number of rows that cannot be decoded.
        seconds: duration of the written files.
    """

    files: int
    skipped: int
    failures: int
    seconds: float


def detokenize(
    tokens: Tokens,
    folder: Path,
    codec: Codec,
    run: Run,
    *,
    ending: str = "wav",
    native_rate: bool = False,
    any_weights: bool = False,
    force: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Detokenized:
    """Decode each row to a file ``ID.ENDING``. Files that exist are skipped.

    Args:
        tokens: the data set.
        folder: folder of the files.
        codec: the model.
        run: runs the jobs, see `data.workers`.
        ending: format of the files: wav, flac, ogg or another one that soundfile writes.
        native_rate: write audio at the model's sample rate instead of the recording's.
        any_weights: decode although the codes are of other weights.
        force: replace files that exist.
        progress: called after each job with the rows done, their number and a text.

    Raises:
        FileError: the model does not fit, or the folder cannot be used.
    """
    own = tokens.settings
    sizes = own.sample_rate_hz, own.frame_samples, own.codebook_size, own.delay_samples
    if sizes != (
        codec.sample_rate_hz,
        codec.frame_samples,
        codec.codebook_size,
        codec.delay_samples,
    ):
        raise FileError(
            f"{tokens.folder} has codes of {own.model}, which {codec.name} cannot decode"
        )
    if own.weights_sha256 != codec.codes_sha256 and not any_weights:
        raise FileError(
            f"{tokens.folder} has codes of other weights of {own.model} ({own.weights_sha256[:8]}) "
            + than_here(codec, own.model, own.weights_sha256)
        )
    shared = {
        "tokens": str(tokens.folder),
        "folder": str(folder),
        "model": str(codec.folder),
        "engine": codec.engine,
        "ending": ending,
        "native_rate": native_rate,
        "force": force,
    }
    total = len(tokens)
    jobs = (json.dumps({**shared, **rows}) for rows in _jobs(tokens))
    files = skipped = 0
    seconds = 0.0
    failures: list[dict[str, str]] = []
    with only_one(folder, "chirrup detokenize"):
        for text in run(work, jobs, None):
            result = json.loads(text)
            if "error" in result:
                raise FileError(result["error"])
            files, skipped = files + result["files"], skipped + result["skipped"]
            seconds += result["seconds"]
            failures += result["failures"]
            done = files + skipped + len(failures)
            progress(done, total, f"{seconds / 3600:.2f} h of audio")
        write_failures(folder, sorted(failures, key=lambda failure: failure["id"]))
    return Detokenized(files, skipped, len(failures), seconds)


def _jobs(tokens: Tokens) -> Iterator[dict[str, Any]]:
    """Yield the rows of each job: the number of the first, their ids, and those that are repeated.

    A repeated id would replace the file of another row.
    """
    seen: set[int] = set()
    ids, first = tokens.ids(), 0
    while names := [*islice(ids, JOB_ROWS)]:
        repeated = []
        for number, name in enumerate(names, first):
            if (mark := hash(PurePath(name))) in seen:
                repeated.append(number)
            seen.add(mark)
        yield {"first": first, "ids": names, "repeated": repeated}
        first += len(names)


@lru_cache(maxsize=2)
def _opened(tokens: str, model: str, engine: str) -> tuple[Tokens, Codec]:
    return Tokens(tokens), load(model, engine=engine)


def work(job: str) -> str:
    """Decode some rows to files.

    Returns:
        Numbers of ``files`` and ``skipped`` files, ``seconds`` of audio and ``failures``, or
        ``error`` if a file cannot be written.
    """
    given = json.loads(job)
    files = skipped = 0
    seconds = 0.0
    failures: list[dict[str, str]] = []
    rate_hz = None
    try:
        tokens, codec = _opened(given["tokens"], given["model"], given["engine"])
        if given["native_rate"]:
            rate_hz = codec.sample_rate_hz
        for number, name in enumerate(given["ids"], given["first"]):
            try:
                if number in given["repeated"]:
                    raise FileError("an earlier row has the same id")
                target = _target(Path(given["folder"]), name, given["ending"])
                if target.is_file() and not given["force"]:
                    skipped += 1
                    continue
                row = tokens[number]
                if row.id != name:
                    raise FileError(
                        f"row {number} has the id {row.id!r} in its shard and {name!r} in "
                        "ids.txt: run chirrup tokenize again"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(codec, row, target, rate_hz)
            except (FileError, ValueError, OSError) as error:
                if _ends_all(error):
                    raise
                failures.append({"id": name, "reason": _reason(error)})
                continue
            files, seconds = files + 1, seconds + row.duration_s
    except (FileError, OSError) as error:
        return json.dumps({"error": _reason(error)})
    counts = {"files": files, "skipped": skipped, "seconds": seconds}
    return json.dumps({**counts, "failures": failures})


def _ends_all(error: Exception) -> bool:
    """Return whether no other row can be written either."""
    cause = error.__cause__ if isinstance(error, FileError) else error
    return isinstance(cause, OSError) and cause.errno in FULL


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _target(folder: Path, name: str, ending: str) -> Path:
    """Return the file of a row.

    Raises:
        FileError: the name is empty or leads out of the folder, as of a data set from a stranger.
    """
    place = Path(f"{name}.{ending}")
    parts = place.parts
    if place.anchor or ".." in parts or "\0" in name or not place.suffix or len(parts) > MOST_PARTS:
        raise FileError(f"the id {name[:99]!r} is not a file name in the folder of the outputs")
    return folder / place


def _write(codec: Codec, row: Row, target: Path, rate_hz: int | None) -> None:
    """Decode a row to a file with the length of the recording."""
    channels = min(row.channels, codec.channels)
    rate_hz = checked_rate(rate_hz or row.sample_rate_hz)
    samples = row.samples
    if rate_hz == row.sample_rate_hz:
        samples = round(row.duration_s * rate_hz)
    blocks = codec.decode_blocks(iter([row.codes[None]]), channels)
    audio = resample_blocks(_first(blocks, row.samples), channels, codec.sample_rate_hz, rate_hz)
    with open_sink(target, rate_hz, channels, samples) as sink:
        for block in _first(audio, samples):
            sink.write(written_as(block, False, Decoded(rate_hz, channels)))


def _first(blocks: Iterator[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """Yield the first samples of audio."""
    for block in blocks:
        yield block[:, :samples]
        samples -= min(samples, block.shape[1])
