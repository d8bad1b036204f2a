"""Run an evaluation: each system on each clip under each condition.

A system is a codec at a bitrate. A unit is one system under one condition: its clips are coded, its
delay is found, its clips are scored and its rows are written. If a run is stopped, the next run in
the same folder continues with the first unit that is not written.
"""

import hashlib
import importlib.metadata
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError, UsageError
from chirrup.evaluate import alignment, conditions, metrics
from chirrup.evaluate.clips import name_of, read_clip, speaker
from chirrup.evaluate.conditions import Condition
from chirrup.evaluate.earlier import NO_ANSWER, file_hash, lacking, merged, read_rows
from chirrup.evaluate.peers import PeerError, find
from chirrup.evaluate.results import RESULTS, Results, Row, audio_path
from chirrup.files.drafts import only_one, open_scratch, written
from chirrup.files.outputs import open_sink
from chirrup.files.processes import open_pool

PACKAGES = ("chirrup", "numpy", "onnxruntime", "pesq", "pystoi", "visqol-python", "speechmos")


@dataclass(frozen=True)
class System:
    """A codec, by its name for `peers.find`, at a bitrate."""

    codec: str
    bitrate_bps: int


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run.

    Attributes:
        clips: audio files. The part of a file name before the last ``__`` is the speaker.
        metrics: names in `chirrup.evaluate.metrics.METRICS`.
        noises, rooms: recordings of noise and room responses for the conditions; if there are none,
            noise and rooms are synthetic.
        languages: ISO 639 code of each clip whose language is known.
        rate_hz: rate to which the clips are resampled; None keeps the rate of each clip.
        mono: whether the channels are mixed to one.
        workers: number of processes.
    """

    clips: tuple[Path, ...]
    systems: tuple[System, ...]
    conditions: tuple[Condition, ...]
    metrics: tuple[str, ...]
    noises: tuple[Path, ...] = ()
    rooms: tuple[Path, ...] = ()
    languages: Mapping[Path, str] = field(default_factory=dict)
    rate_hz: int | None = None
    mono: bool = False
    workers: int = 2

    def recordings(self, condition: Condition, clip: Path) -> tuple[Path, ...]:
        """Return the recordings that a condition draws from for a clip."""
        if condition.kind == "talkers":
            return tuple(other for other in self.clips if speaker(other) != speaker(clip))
        if condition.kind in conditions.NOISY:
            return self.noises
        return self.rooms if condition.kind in conditions.IN_A_ROOM else ()


@dataclass(frozen=True)
class Unit:
    system: System
    condition: Condition


def evaluate(
    settings: Settings,
    folder: Path,
    *,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Results:
    """Run the units that ``folder/results.jsonl`` does not have, and return the rows of all units.

    Args:
        progress: called with the number of units that are done, the number of all units, and the
            name of the next unit.

    Raises:
        FileError: a clip, a codec or the existing results cannot be used, another evaluation runs
            in the folder, or a process was killed.
        UsageError: two codecs have the same name.
    """
    _check_systems(settings.systems)
    with only_one(folder, "chirrup evaluate"):
        _check_writable(folder)
        return _evaluate(settings, folder, progress)


def _evaluate(
    settings: Settings, folder: Path, progress: Callable[[int, int, str], None]
) -> Results:
    rows = read_rows(folder)
    available, hashed = cache(metrics.available), cache(file_hash)
    run = describe_run(settings)
    every = [Unit(s, c) for c in settings.conditions for s in settings.systems]
    units = [unit for unit in every if _can_run(unit)]
    reasons = [
        f"{unit.system.codec} under {unit.condition.name}: only models are evaluated over a network"
        for unit in every
        if unit not in units
    ]
    run["left_out"] = list(dict.fromkeys(reasons))
    if not units:
        raise FileError(f"nothing is left to evaluate: {'; '.join(run['left_out'])}")
    wanted: list[Row] = []
    with (
        open_scratch(folder / "scratch") as scratch,
        open_pool(settings.workers, scratch) as pool,
    ):
        for number, unit in enumerate(units):
            codec = find(unit.system.codec)
            name = f"{codec.label} {unit.system.bitrate_bps / 1000:g} kbit/s, {unit.condition.name}"
            progress(number, len(units), name)
            keys = [(*_key(unit), name_of(clip)) for clip in settings.clips]
            sources = [_source(settings, unit.condition, clip, hashed) for clip in settings.clips]
            needs = [
                lacking(
                    rows.get(key),
                    codec.version,
                    source,
                    settings.metrics,
                    settings.languages.get(clip),
                    available,
                )
                for key, clip, source in zip(keys, settings.clips, sources, strict=True)
            ]
            missing = {name for names in needs for name in names or ()}
            if any(names is not None for names in needs):
                asked = tuple(name for name in settings.metrics if name in missing)
                part = replace(settings, metrics=asked)
                try:
                    for row in _unit(pool, unit, part, sources, folder, scratch):
                        key = (*_key(unit), row.clip)
                        rows[key] = merged(rows.get(key), row)
                except BrokenProcessPool as error:
                    raise FileError(
                        f"{name}: a process was killed, because memory ran out or because a codec "
                        "or a metric crashed; use --workers 1, or fewer metrics or shorter clips"
                    ) from error
                Results(run, list(rows.values())).write(folder / RESULTS)
            wanted += [rows[key] for key in keys]
        progress(len(units), len(units), "")
    return Results(run, wanted)


def describe_run(settings: Settings) -> dict[str, Any]:
    """Return the time, the machine, the versions and the settings of a run."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions,
        "clips": len(settings.clips),
        "speakers": len({speaker(clip) for clip in settings.clips}),
        "rate_hz": settings.rate_hz,
        "mono": settings.mono,
        "metrics": list(settings.metrics),
        "conditions": [condition.name for condition in settings.conditions],
    }


def _can_run(unit: Unit) -> bool:
    return not unit.condition.network.name or find(unit.system.codec).accepts_network


def _check_systems(systems: Sequence[System]) -> None:
    """Raise UsageError if two codecs have the same name, because results are stored by name."""
    texts: dict[str, str] = {}
    for text in dict.fromkeys(system.codec for system in systems):
        name = find(text).name
        other = texts.setdefault(name, text)
        if other != text:
            raise UsageError(
                f"{other} and {text} are both named {name} in the results: rename one of the "
                "folders, or write the same folder always alike"
            )


def _check_writable(folder: Path) -> None:
    """Raise OSError before hours of work, not after."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def _key(unit: Unit) -> tuple[str, int, str]:
    return find(unit.system.codec).name, unit.system.bitrate_bps, unit.condition.name


def _source(
    settings: Settings, condition: Condition, clip: Path, hashed: Callable[[Path], str]
) -> str:
    """Return a hash of a clip, its language and the settings that change the coded signal."""
    recordings = [(path.name, hashed(path)) for path in settings.recordings(condition, clip)]
    changes = repr((settings.rate_hz, settings.mono, recordings)).encode()
    changes += condition.network.name.encode()
    changes += settings.languages.get(clip, "").encode()
    return hashlib.blake2b(clip.read_bytes() + changes, digest_size=6).hexdigest()


# --- one unit, spread over the processes --------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One clip of a unit. ``draft`` is the file of the decoded audio, its delay not yet removed."""

    unit: Unit
    settings: Settings
    clip: Path
    draft: Path


@dataclass(frozen=True)
class Outcome:
    bits: int
    encode_seconds: float
    decode_seconds: float
    agreement: np.ndarray
    rate_hz: int


def _unit(
    pool: ProcessPoolExecutor,
    unit: Unit,
    settings: Settings,
    sources: Sequence[str],
    folder: Path,
    scratch: Path,
) -> Iterator[Row]:
    codec = find(unit.system.codec)
    jobs = [
        Job(unit, settings, clip, scratch / f"{index}.npy")
        for index, clip in enumerate(settings.clips)
    ]
    outcomes = list(pool.map(code_clip, jobs))
    delays = {
        rate: alignment.best_delay(o.agreement for o in outcomes if o.rate_hz == rate)
        for rate in {outcome.rate_hz for outcome in outcomes}
    }
    if codec.delay_ms is not None:
        delays = {rate: round(codec.delay_ms * rate / 1000) for rate in delays}
    late = [delays[outcome.rate_hz] for outcome in outcomes]
    scored = list(pool.map(score_clip, jobs, late, [folder] * len(jobs)))
    for job, source, outcome, (seconds, scores, blank) in zip(
        jobs, sources, outcomes, scored, strict=True
    ):
        yield Row(
            codec=codec.name,
            label=codec.label,
            ours=codec.ours,
            version=codec.version,
            bitrate_bps=unit.system.bitrate_bps,
            condition=unit.condition.name,
            clip=name_of(job.clip),
            speaker=speaker(job.clip),
            seconds=seconds,
            bits=outcome.bits,
            encode_seconds=outcome.encode_seconds,
            decode_seconds=outcome.decode_seconds,
            source=source,
            delay_ms=1000 * delays[outcome.rate_hz] / outcome.rate_hz,
            scores=scores,
            blank=blank,
        )


def under_condition(job: Job, make: Callable[..., np.ndarray]) -> tuple[np.ndarray, int]:
    """Return ``make`` of the clip, `conditions.apply` or `conditions.reference`, and its rate."""
    settings, condition = job.settings, job.unit.condition
    audio, rate_hz = read_clip(job.clip, settings.rate_hz, settings.mono)
    recordings = settings.recordings(condition, job.clip)
    return make(condition, audio, rate_hz, name_of(job.clip), recordings), rate_hz


def code_clip(job: Job) -> Outcome:
    """Code and decode one clip. Runs in a process of the pool."""
    audio, rate_hz = under_condition(job, conditions.apply)
    codec = find(job.unit.system.codec)
    if job.unit.condition.network.name:
        codec = codec.with_network(job.unit.condition.network, name_of(job.clip))
    try:
        coded = codec.code(audio, rate_hz, job.unit.system.bitrate_bps)
    except (PeerError, ValueError) as error:
        raise FileError(f"{codec.label} failed on {job.clip}: {error}") from error
    with written(job.draft) as draft, draft.open("wb") as file:
        np.save(file, coded.audio)
    reference, _ = under_condition(job, conditions.reference)
    agreement = alignment.correlations(reference, coded.audio, rate_hz)
    return Outcome(coded.bits, coded.encode_seconds, coded.decode_seconds, agreement, rate_hz)


def score_clip(
    job: Job, delay: int, folder: Path
) -> tuple[float, dict[str, float | None], dict[str, str]]:
    """Score one clip, and write reference and decoded audio for listening.

    Args:
        delay: delay of the decoded audio in samples.

    Returns:
        Seconds of the clip, its scores, and the reasons of blank scores, by metric.
    """
    audio, rate_hz = under_condition(job, conditions.reference)
    decoded = alignment.moved(np.load(job.draft), delay, audio.shape[1])
    codec = find(job.unit.system.codec)
    condition = job.unit.condition.name
    for name, signal in (
        ("reference", audio),
        (f"{codec.name}-{job.unit.system.bitrate_bps}", decoded),
    ):
        path = audio_path(folder, condition, name_of(job.clip), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_sink(path, rate_hz, len(signal), signal.shape[1]) as sink:
            sink.write(signal.T.clip(-1, 1))
    scores: dict[str, float | None] = {}
    blank: dict[str, str] = {}
    language = job.settings.languages.get(job.clip)
    for name in job.settings.metrics:
        try:
            metrics.check_language(name, language)
            scores[name] = metrics.score(name, audio, decoded, rate_hz)
            if scores[name] is None:
                blank[name] = NO_ANSWER
        except metrics.Unavailable as reason:
            scores[name], blank[name] = None, str(reason)
    return audio.shape[1] / rate_hz, scores, blank
