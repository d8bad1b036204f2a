"""Check of a corpus before it is used for training."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chirrup.data.audio import BadAudioError, opened, read_blocks
from chirrup.data.item import ENDINGS, SPLITS
from chirrup.data.manifest import BadRow, Entry, find_manifest, read_rows
from chirrup.data.measure import CRASHED, SILENT
from chirrup.data.workers import Run
from chirrup.errors import FileError
from chirrup.files.walking import files_below

SECONDS_OFF = 0.01
PROBLEMS = {
    "bad row": "has a row that cannot be used",
    "outside": "lies outside the folder of the manifest, and was not opened",
    "unreadable": "cannot be opened or decoded",
    "changed": "has another hash than in the manifest",
    "silent": "is silent",
    "wrong rate": "has another sample rate than expected",
    "wrong length": "has another length than in the manifest",
    "no licence": "has no licence",
    "listed twice": "is in the manifest more than once",
    "in two splits": "has its speaker, track or recording also in another split",
    "same audio": "has the same audio as a recording of another split",
    "not listed": "is in the folder but not in the manifest",
}
"""Kinds of problems, in the order of the output."""


@dataclass
class Report:
    """The result of `check`.

    Attributes:
        recordings: number of recordings in the manifest.
        found: for each kind of problem, the recordings that have it, with details.
    """

    recordings: int = 0
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def problems(self) -> int:
        """Number of all problems."""
        return sum(map(len, self.found.values()))


def check(
    folder: Path,
    run: Run,
    *,
    rate_hz: int | None = None,
    quick: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, step: None,
) -> Report:
    """Check every recording of a corpus.

    Args:
        folder: the folder of the manifest, or the manifest.
        run: runs the jobs, see `workers`.
        rate_hz: expected sample rate of all recordings. None is the rate in the manifest.
        quick: check only the headers of files, not the samples.
        progress: called with the recordings done, their total number and the step.

    Raises:
        FileError: there is no manifest, or it cannot be read.
    """
    manifest = find_manifest(folder)
    report = Report()
    kept = _Kept(report)
    for row in read_rows(manifest):
        report.recordings += 1
        if isinstance(row, BadRow):
            report.found["bad row"].append(str(row))
        else:
            kept.add(row)
    if not report.recordings:
        raise FileError(f"{manifest} lists no recordings")
    jobs = (
        _job(row, rate_hz, quick)
        for row in read_rows(manifest)
        if isinstance(row, Entry) and not _outside(row)
    )
    for done, text in enumerate(run(check_recording, jobs, crashed)):
        progress(done, report.recordings, "checking")
        result = json.loads(text)
        for problem, path, detail in result["found"]:
            report.found[problem].append(f"{path}: {detail}")
        if result.get("content"):
            kept.contents[result["content"]].append((result["path"], result["split"]))
    kept.finish(manifest.parent)
    report.found = {name: sorted(report.found[name]) for name in PROBLEMS if report.found[name]}
    return report


@dataclass
class _Kept:
    """Properties of all recordings, which are compared with each other."""

    report: Report
    paths: set[str] = field(default_factory=set)
    """Paths relative to the manifest."""
    shards: set[str] = field(default_factory=set)
    """Paths relative to the manifest."""
    groups: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """For each group, a recording of each split."""
    contents: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, entry: Entry) -> None:
        if outside := _outside(entry):
            self.report.found["outside"].append(outside)
        else:
            path = entry.within(entry.path) or ""
            if path in self.paths:
                self.report.found["listed twice"].append(entry.path)
            self.paths.add(path)
            self.shards.add(entry.within(entry.shard) or "")
        if not (entry.facts.get("licence") or entry.facts.get("license")):
            self.report.found["no licence"].append(entry.path)
        group = entry.facts.get("group") or entry.facts.get("speaker_or_track")
        if group:
            self.groups[group].setdefault(split_of(entry), entry.path)

    def finish(self, folder: Path) -> None:
        for group, splits in self.groups.items():
            named = sorted(split for split in splits if split)
            if len(named) > 1:
                self.report.found["in two splits"].append(f"{group}: {', '.join(named)}")
        for same in self.contents.values():
            if len({split for _, split in same}) > 1:
                paths = " and ".join(sorted(path for path, _ in same))
                self.report.found["same audio"].append(paths)
        tops = {path.partition("/")[0] for path in self.paths if "/" in path}
        for top in sorted(tops):
            try:
                found = sorted(files_below(folder / top))
            except FileError as error:
                self.report.found["unreadable"].append(str(error))
                continue
            for path in found:
                name = path.relative_to(folder).as_posix()
                early = name.endswith(".early.flac")
                audio = path.suffix.lower() in ENDINGS and name not in self.paths and not early
                shard = path.suffix == ".tar" and name not in self.shards
                if path.is_file() and (audio or shard):
                    self.report.found["not listed"].append(name)


def _outside(entry: Entry) -> str:
    """Return the path or the shard of a row if it is outside of the folder, else an empty text."""
    names = (entry.path, entry.shard)
    return next((name for name in names if entry.within(name) is None), "")


def split_of(entry: Entry) -> str:
    """Return the split from its column, or from the folder's name such as ``speech_train``."""
    listed = entry.facts.get("split", "")
    ending = entry.path.rpartition("/")[0].rpartition("/")[2].rpartition("_")[2]
    return listed or (ending if ending in SPLITS else "")


def _job(entry: Entry, rate_hz: int | None, quick: bool) -> str:
    row = {**vars(entry), "folder": str(entry.folder), "facts": dict(entry.facts)}
    return json.dumps({"row": row, "rate_hz": rate_hz, "quick": quick})


def crashed(job: str) -> str:
    path = json.loads(job)["row"]["path"]
    return json.dumps({"found": [("unreadable", path, CRASHED)]})


def check_recording(job: str) -> str:
    """Check a recording; return its problems and a hash of its samples, as JSON."""
    given = json.loads(job)
    row = given["row"]
    entry = Entry(**{**row, "folder": Path(row["folder"])})
    found: list[tuple[str, str, str]] = []
    content = None
    try:
        content = _check_audio(entry, given["rate_hz"], given["quick"], found)
    except (OSError, FileError) as error:
        why = getattr(error, "strerror", None) or str(error)
        found.append(("unreadable", entry.path, why))
    except BadAudioError as error:
        found.append(("unreadable", entry.path, error.detail))
    return json.dumps(
        {"found": found, "path": entry.path, "split": split_of(entry), "content": content}
    )


def _check_audio(
    entry: Entry, rate_hz: int | None, quick: bool, found: list[tuple[str, str, str]]
) -> str | None:
    facts = entry.facts
    with entry.open() as source:
        if "sha256" in facts and not quick:
            if hashlib.file_digest(source, "sha256").hexdigest() != facts["sha256"]:
                found.append(("changed", entry.path, PROBLEMS["changed"]))
                return None
            source.seek(0)
        with opened(source) as file:
            listed_hz = facts.get("sample_rate_hz") or facts.get("file_sample_rate")
            wanted = rate_hz or int(listed_hz or file.samplerate)
            if file.samplerate != wanted:
                detail = f"{file.samplerate} Hz instead of {wanted}"
                found.append(("wrong rate", entry.path, detail))
            seconds = file.frames / file.samplerate
            listed = float(facts.get("seconds") or seconds)
            if abs(seconds - listed) > SECONDS_OFF:
                detail = f"{seconds:.3f} s instead of {listed:.3f}"
                found.append(("wrong length", entry.path, detail))
            if quick:
                return None
            content, loudest = hashlib.sha256(), 0.0
            for block in read_blocks(file):
                content.update((block * 32768).round().astype("<i4").tobytes())
                loudest = max(loudest, float(np.abs(block).max()))
    if loudest < SILENT:
        found.append(("silent", entry.path, PROBLEMS["silent"]))
        return None
    return content.hexdigest()[:16]
