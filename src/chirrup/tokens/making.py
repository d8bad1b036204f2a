"""`tokenize`: recordings to a data set of tokens, which can be stopped and continued.

The folder has whole shards and a working file at all times. When all shards are done, it also has
``dataset.json``, the index of rows and the failures.
"""

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from chirrup.codec import Codec
from chirrup.data.workers import Run
from chirrup.errors import FileError
from chirrup.files.drafts import only_one, written
from chirrup.tokens import work
from chirrup.tokens.existing import check_folder, check_settings, check_sources
from chirrup.tokens.formats import FORMATS
from chirrup.tokens.ids import DistinctIds
from chirrup.tokens.layouts import Layout
from chirrup.tokens.rows import Settings
from chirrup.tokens.sources import Recording, scan
from chirrup.tokens.store import ENTRY, Store, open_store, remove_damaged
from chirrup.tokens.work import DATASET, FAILURES, IDS, INDEX

VERSION = 1
SHARD_RECORDINGS = 2000
"""Most recordings of a shard."""
SHORTEST_SEGMENT, LONGEST_SEGMENT = 0.1, 86_400.0
"""Limits of the duration of a segment, in s."""
SHARD_BYTES = 256_000_000
"""Size of the audio, as it is stored, at which a shard ends."""
SHARD_CHARACTERS = 16_000_000
"""Characters of all texts at which a shard ends, because a job and a shard are in memory."""

Progress = Callable[[int, int, str], None]
"""A function of the recordings done, their number, and a text with the throughput."""


@dataclass(frozen=True)
class Tokenized:
    """The result of `tokenize`.

    Attributes:
        rows: number of rows in the data set.
        seconds: duration of all rows.
        failures: number of recordings that cannot be read.
        renamed: number of recordings whose id was taken, so that they have another one.
        new_seconds: duration of the rows that this run has added.
    """

    rows: int
    seconds: float
    failures: int
    renamed: int
    new_seconds: float


def settings_of(
    codec: Codec,
    bitrate_bps: float | None,
    form: str = "parquet",
    flatten: Layout = "none",
    separate: bool = False,
    segment_seconds: float = 0.0,
) -> Settings:
    """Return the settings of a data set.

    Args:
        codec: the model.
        bitrate_bps: one of ``bitrates_bps``. None is ``default_bitrate_bps``.
        form: one of `FORMATS`.
        flatten: layout of the stored codes, see `layouts.flatten`.
        separate: make a row of each channel. Otherwise a model of one channel codes the average.
        segment_seconds: longest duration of a row. Longer recordings are cut, and each part is
            coded as a separate signal. 0 sets no limit.

    Raises:
        ValueError: the model does not have the bitrate, or the segments are too short.
    """
    if not (segment_seconds == 0 or SHORTEST_SEGMENT <= segment_seconds <= LONGEST_SEGMENT):
        raise ValueError(
            f"segments of {segment_seconds:g} s are not possible: use {SHORTEST_SEGMENT:g} to "
            f"{LONGEST_SEGMENT:g} s, or 0 for whole recordings"
        )
    codebooks = codec.codebooks_at(bitrate_bps)
    return Settings(
        model=codec.name,
        weights_sha256=codec.codes_sha256,
        engine=codec.engine,
        bitrate_bps=codec.bitrates_bps[codebooks - 1],
        codebooks=codebooks,
        codebook_size=codec.codebook_size,
        sample_rate_hz=codec.sample_rate_hz,
        frame_samples=codec.frame_samples,
        delay_samples=codec.delay_samples,
        format=form,
        flatten=flatten,
        separate=separate,
        segment_seconds=segment_seconds,
    )


def tokenize(
    sources: Sequence[str],
    folder: Path,
    codec: Codec,
    settings: Settings,
    run: Run,
    *,
    shard_recordings: int = SHARD_RECORDINGS,
    force: bool = False,
    progress: Progress = lambda done, total, text: None,
) -> Tokenized:
    """Tokenise recordings, or continue where an earlier run was stopped.

    Args:
        sources: see `sources.scan`.
        folder: folder of the data set.
        codec: the model.
        settings: see `settings_of`.
        run: runs the jobs, see `data.workers`.
        shard_recordings: most recordings of a shard.
        force: replace a data set with other settings, whose working file is missing or damaged, or
            that has rows of other sources.
        progress: called after each shard.

    Raises:
        FileError: a source or the folder cannot be used, or a shard cannot be written.
        ModelError: the model only decodes.
    """
    codec.check_encodes()
    FORMATS[settings.format].check()
    total = sum(1 for _ in scan(sources))
    if not total:
        raise FileError(f"{', '.join(sources)} has no audio: give files, folders or tar files")
    check_folder(folder, force)
    with ExitStack() as stack:
        stack.enter_context(only_one(folder, "chirrup tokenize"))
        if force:
            remove_damaged(folder)
        store = stack.enter_context(open_store(folder))
        check_settings(store, folder, {**asdict(settings), "shard": shard_recordings}, force)
        check_sources(store, folder, sources, force)
        (folder / work.SHARDS).mkdir(exist_ok=True)
        work.remove_marks(folder)
        done, new_seconds, begin = 0, 0.0, time.monotonic()

        def report(recordings: int, seconds: float) -> None:
            nonlocal done, new_seconds
            done, new_seconds = done + recordings, new_seconds + seconds
            speed = new_seconds / max(1e-3, time.monotonic() - begin)
            text = f"{new_seconds / 3600:.2f} h of audio, {speed:.1f} x real time"
            progress(done, total, text if new_seconds else "")

        ids = DistinctIds()
        named = (replace(one, id=ids.distinct(one.id)) for one in scan(sources))
        shards = _shards(named, shard_recordings)
        count = _make(shards, folder, store, settings, codec, run, report)
        for number in store.remove_from(count):
            work.remove_shard(folder, number, settings)
        return Tokenized(*_finish(folder, store, settings), ids.changed, new_seconds)


def _shards(
    recordings: Iterable[Recording], most_recordings: int
) -> Iterator[tuple[int, list[Recording]]]:
    """Divide recordings into shards, which depend only on the recordings."""
    shard: list[Recording] = []
    number = size = characters = 0
    for recording in recordings:
        size, characters = size + recording.bytes, characters + len(recording.text)
        full = len(shard) == most_recordings or size > SHARD_BYTES or characters > SHARD_CHARACTERS
        if shard and full:
            yield number, shard
            shard, number = [], number + 1
            size, characters = recording.bytes, len(recording.text)
        shard.append(recording)
    if shard:
        yield number, shard


def _make(
    shards: Iterable[tuple[int, list[Recording]]],
    folder: Path,
    store: Store,
    settings: Settings,
    codec: Codec,
    run: Run,
    report: Callable[[int, float], None],
) -> int:
    """Make the shards that are not done yet.

    A recording that ends its process is a failure, and its shard is made again without it.

    Returns:
        The number of shards.
    """
    waiting: dict[int, tuple[str, list[Recording]]] = {}
    count = 0

    def job(number: int, recordings: list[Recording]) -> str:
        return work.job(folder, number, recordings, settings, str(codec.folder))

    def new_jobs() -> Iterator[str]:
        nonlocal count
        for number, recordings in shards:
            count = number + 1
            plan = _plan_of(recordings, settings)
            if _is_done(store, folder, number, plan, settings):
                report(len(recordings), 0.0)
                continue
            if not store.writable:
                raise FileError(
                    f"{folder} cannot be written, but shard {number} is missing or not up to date: "
                    "check the permissions of the folder, or give another --out"
                )
            (folder / DATASET).unlink(missing_ok=True)  # it exists only for whole data sets
            waiting[number] = plan, recordings
            yield job(number, recordings)

    jobs = new_jobs()
    while True:
        again: list[int] = []
        for text in run(work.run, jobs, work.crashed):
            result = json.loads(text)
            if "error" in result:
                raise FileError(result["error"])
            number = result["number"]
            plan, recordings = waiting[number]
            if "crashed" in result:
                bad = recordings[result["crashed"]]
                recordings[result["crashed"]] = replace(bad, fault=work.CRASH)
                again.append(number)
                continue
            store.keep("" if result["may_pass"] else plan, result)  # "": another run makes it again
            del waiting[number]
            report(len(recordings), result["seconds"])
        if not again:
            return count
        jobs = (job(number, waiting[number][1]) for number in again)


def _plan_of(recordings: Sequence[Recording], settings: Settings) -> str:
    """Return a hash of all that a shard depends on."""
    content = [VERSION, asdict(settings), [astuple(recording) for recording in recordings]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _is_done(store: Store, folder: Path, number: int, plan: str, settings: Settings) -> bool:
    known, sizes = store.shard(number)
    return known == plan and sizes == work.sizes_of(folder, number, settings)


# --- the whole data set --------------------------------------------------------------------------


def _finish(folder: Path, store: Store, settings: Settings) -> tuple[int, float, int]:
    """Write the index, the failures and the description, each whole or not at all.

    A whole data set that cannot be written stays as it is.

    Returns:
        The numbers of rows, their duration in s, and the number of failures.
    """
    rows, seconds = store.totals()
    if not store.writable and all((folder / name).is_file() for name in (DATASET, INDEX, IDS)):
        return rows, seconds, sum(1 for _ in store.failures())
    with (
        written(folder / INDEX) as draft,
        written(folder / IDS) as ids_draft,
        draft.open("wb") as file,
        ids_draft.open("w", encoding="utf-8", newline="\n") as ids,
    ):
        form = {"descr": ENTRY.descr, "fortran_order": False, "shape": (rows,)}
        np.lib.format.write_array_header_1_0(file, form)
        for names, entries in store.index():
            file.write(entries)
            ids.writelines(f"{name}\n" for name in names)
    failures = write_failures(folder, store.failures())
    shards = [{"number": n, "rows": count, "seconds": s} for n, count, s in store.shards()]
    about = {"version": VERSION, "chirrup": importlib.metadata.version("chirrup")}
    about |= {**asdict(settings), "rows": rows, "seconds": seconds, "failures": failures}
    with written(folder / DATASET) as draft:
        draft.write_text(json.dumps({**about, "shards": shards}, indent=1) + "\n")
    return rows, seconds, failures


def write_failures(folder: Path, failures: Iterable[dict[str, str]]) -> int:
    """Write ``failures.jsonl`` if there are failures, and return their number."""
    path, count = folder / FAILURES, 0
    lines = (json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
    if (first := next(lines, None)) is None:
        if path.exists():
            path.unlink()
        return 0
    with written(path) as draft, draft.open("w", encoding="utf-8") as file:
        for line in chain([first], lines):
            file.write(line)
            count += 1
    return count
