"""The run of an evaluation: codecs at bitrates, times conditions, times clips.

Everything goes by units of one codec at one bitrate under one condition: code all clips, find the
one delay, score, write. A run that was stopped goes on with the first unit that is not written.
"""

import hashlib
import importlib.metadata
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError
from chirrup.evaluate import alignment, conditions, metrics
from chirrup.evaluate.clips import name_of, speaker
from chirrup.evaluate.conditions import Condition
from chirrup.evaluate.peers import Model, find
from chirrup.evaluate.peers.peer import PeerError
from chirrup.evaluate.results import RESULTS, Results, Row, audio_path
from chirrup.files.drafts import only_one, open_scratch, written
from chirrup.files.outputs import open_sink
from chirrup.files.processes import open_pool

PACKAGES = ("chirrup", "numpy", "onnxruntime", "pesq", "pystoi", "visqol-python", "speechmos")


@dataclass(frozen=True)
class System:
    """A codec, by what `peers.find` knows it as, at a bitrate."""

    codec: str
    bitrate_bps: int


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        clips: files; the part of a name before its last ``__`` is the speaker.
        systems, conditions, metrics: what to try, and names of what to measure.
        noises, rooms: recordings for the conditions; without, they are made.
        languages: ISO 639 codes of clips; the others' are not known.
        rate_hz: clips are taken at this rate; None: at their own.
        mono: channels are mixed to one.
        workers: processes.
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

    def others(self, condition: Condition, clip: Path) -> tuple[Path, ...]:
        """What a condition draws from."""
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
    """Run what is not yet in ``folder/results.jsonl``, and return all that was asked for.

    Args:
        progress: called with units done, units in all, and what comes next.

    Raises:
        FileError: a clip, codec or result that cannot be used, or another evaluation is at work in
            the folder.
    """
    with only_one(folder, "chirrup evaluate"):
        _check_writable(folder)
        return _evaluate(settings, folder, progress)


def _evaluate(
    settings: Settings, folder: Path, progress: Callable[[int, int, str], None]
) -> Results:
    rows = _kept(folder)
    run = describe(settings)
    every = [Unit(s, c) for c in settings.conditions for s in settings.systems]
    units = [unit for unit in every if _possible(unit)]
    reasons = [
        f"{unit.system.codec} under {unit.condition.name}: its decoder is not told of lost packets"
        for unit in every
        if not _possible(unit)
    ]
    run["left_out"] = list(dict.fromkeys(reasons))
    if not units:
        raise FileError(f"nothing is left to evaluate: {'; '.join(run['left_out'])}")
    asked: list[Row] = []
    with (
        open_scratch(folder / "scratch") as scratch,
        open_pool(settings.workers, scratch) as pool,
    ):
        for number, unit in enumerate(units):
            codec = find(unit.system.codec)
            name = f"{codec.label} {unit.system.bitrate_bps / 1000:g} kbps, {unit.condition.name}"
            progress(number, len(units), name)
            keys = [(*_key(unit), name_of(clip)) for clip in settings.clips]
            made_of = [_source(settings, unit.condition, clip) for clip in settings.clips]
            if not all(
                _complete(rows.get(key), codec, settings.metrics, source)
                for key, source in zip(keys, made_of, strict=True)
            ):
                for row in _unit(pool, unit, settings, folder, scratch):
                    rows[(*_key(unit), row.clip)] = row
                Results(run, list(rows.values())).write(folder / RESULTS)
            asked += [rows[key] for key in keys]
        progress(len(units), len(units), "")
    return Results(run, asked)


def describe(settings: Settings) -> dict[str, Any]:
    """What made a run: when, where, with which versions and settings."""
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


def _possible(unit: Unit) -> bool:
    return not unit.condition.loss or isinstance(find(unit.system.codec), Model)


def _check_writable(folder: Path) -> None:
    """Before hours of work, not after."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def _kept(folder: Path) -> dict[tuple[str, int, str, str], Row]:
    path = folder / RESULTS
    if not path.exists():
        return {}
    try:
        rows = Results.read(path).rows
    except ValueError as error:
        raise FileError(f"{error}: give another folder, or remove it") from error
    return {(row.codec, row.bitrate_bps, row.condition, row.clip): row for row in rows}


def _key(unit: Unit) -> tuple[str, int, str]:
    return find(unit.system.codec).name, unit.system.bitrate_bps, unit.condition.name


def _complete(row: Row | None, codec: Any, wanted: Sequence[str], source: str) -> bool:
    """Whether a row has every metric, of the codec and the audio as they are now."""
    if row is None or (row.version, row.source) != (_version(codec), source):
        return False
    return set(wanted) <= set(row.scores)


def _source(settings: Settings, condition: Condition, clip: Path) -> str:
    """A hash of a clip and of what else makes the signal that is coded."""
    others = [path.name for path in settings.others(condition, clip)]
    made = repr((settings.rate_hz, settings.mono, others)).encode()
    if any(metrics.METRICS[name].languages for name in settings.metrics):
        made += settings.languages.get(clip, "").encode()
    return hashlib.blake2b(clip.read_bytes() + made, digest_size=6).hexdigest()


def _version(codec: Any) -> str:
    return codec.codec.weights_sha256[:12] if isinstance(codec, Model) else ""


# --- one unit, spread over the processes --------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One clip of a unit; ``draft`` is where the decoded audio waits for its delay."""

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
    pool: ProcessPoolExecutor, unit: Unit, settings: Settings, folder: Path, scratch: Path
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
    if isinstance(codec, Model):  # which has removed it
        delays = dict.fromkeys(delays, 0)
    late = [delays[outcome.rate_hz] for outcome in outcomes]
    scored = list(pool.map(score_clip, jobs, late, [folder] * len(jobs)))
    for job, outcome, (seconds, scores, blank) in zip(jobs, outcomes, scored, strict=True):
        yield Row(
            codec=codec.name,
            label=codec.label,
            ours=isinstance(codec, Model),
            version=_version(codec),
            bitrate_bps=unit.system.bitrate_bps,
            condition=unit.condition.name,
            clip=name_of(job.clip),
            speaker=speaker(job.clip),
            seconds=seconds,
            bits=outcome.bits,
            encode_seconds=outcome.encode_seconds,
            decode_seconds=outcome.decode_seconds,
            source=_source(settings, unit.condition, job.clip),
            delay_ms=1000 * delays[outcome.rate_hz] / outcome.rate_hz,
            scores=scores,
            blank=blank,
        )


def prepared(job: Job, make: Callable[..., np.ndarray]) -> tuple[np.ndarray, int]:
    """What `conditions.apply` or `conditions.reference` makes of the clip, and its rate."""
    settings, condition = job.settings, job.unit.condition
    audio, rate_hz = conditions.read(job.clip, settings.rate_hz, settings.mono)
    others = settings.others(condition, job.clip)
    return make(condition, audio, rate_hz, name_of(job.clip), others), rate_hz


def code_clip(job: Job) -> Outcome:
    """Code and decode one clip, in a process of the pool."""
    audio, rate_hz = prepared(job, conditions.apply)
    codec = find(job.unit.system.codec)
    if isinstance(codec, Model) and job.unit.condition.loss:
        codec = codec.with_loss(job.unit.condition.loss, name_of(job.clip))
    try:
        coded = codec.code(audio, rate_hz, job.unit.system.bitrate_bps)
    except (PeerError, ValueError) as error:
        raise FileError(f"{codec.label} failed at {job.clip}: {error}") from error
    with written(job.draft) as draft, draft.open("wb") as file:
        np.save(file, coded.audio)
    reference, _ = prepared(job, conditions.reference)
    agreement = alignment.correlations(reference, coded.audio, rate_hz)
    return Outcome(coded.bits, coded.encode_seconds, coded.decode_seconds, agreement, rate_hz)


def score_clip(
    job: Job, delay: int, folder: Path
) -> tuple[float, dict[str, float | None], dict[str, str]]:
    """Seconds, scores and reasons of blanks of one clip; keeps both signals for listening."""
    audio, rate_hz = prepared(job, conditions.reference)
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
                blank[name] = "no answer for this clip"
        except metrics.Unavailable as reason:
            scores[name], blank[name] = None, str(reason)
    return audio.shape[1] / rate_hz, scores, blank
