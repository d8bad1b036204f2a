"""What is wrong with a corpus, found before a training finds it."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chirrup.data.audio import BadAudioError, opened, read_blocks
from chirrup.data.item import ENDINGS, SPLITS
from chirrup.data.manifest import BadRow, Entry, find_manifest, read_rows
from chirrup.data.measure import SILENT
from chirrup.data.workers import Run
from chirrup.errors import FileError

SECONDS_OFF = 0.01
PROBLEMS = {
    "bad row": "cannot be used as the manifest has it",
    "outside": "lies outside the folder of the manifest, and was not opened",
    "unreadable": "cannot be opened or decoded",
    "changed": "is not what the manifest's hash says",
    "silent": "holds no sound",
    "wrong rate": "has another rate than it should",
    "wrong length": "is shorter or longer than the manifest says",
    "no licence": "has no licence",
    "listed twice": "is in the manifest more than once",
    "in two splits": "has its speaker, track or recording in another split too",
    "same audio": "is the same audio as a recording of another split",
    "not listed": "is in the folder, but not in the manifest",
}
"""In the order in which they are told."""


@dataclass
class Report:
    """
    Attributes:
        recordings: how many the manifest lists.
        found: for each kind of problem the recordings that have it, and how.
    """

    recordings: int = 0
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def problems(self) -> int:
        return sum(map(len, self.found.values()))


def check(
    folder: Path,
    run: Run,
    *,
    rate_hz: int | None = None,
    quick: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Report:
    """Look at every recording of a corpus: one of ours, or any folder with a manifest.

    Args:
        rate_hz: that all are to have; None: what the manifest says of each.
        quick: look at headers only, not at the samples.

    Raises:
        FileError: there is no manifest, or it is none.
    """
    manifest = find_manifest(folder)
    report = Report()
    kept = _Kept(report)
    for row in read_rows(manifest):
        report.recordings += 1
        if isinstance(row, BadRow):
            report.found["bad row"].append(str(row))
        else:
            kept.look(row)
    if not report.recordings:
        raise FileError(f"{manifest} lists nothing")
    jobs = (
        _job(row, rate_hz, quick)
        for row in read_rows(manifest)
        if isinstance(row, Entry) and not _outside(row)
    )
    for done, text in enumerate(run(look, jobs, crashed)):
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
    """What has to be known of all recordings together."""

    report: Report
    paths: set[str] = field(default_factory=set)
    """Relative to the manifest; so are the shards."""
    shards: set[str] = field(default_factory=set)
    groups: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """A recording of each split, by group."""
    contents: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def look(self, entry: Entry) -> None:
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
            for path in sorted(_files(folder / top)):
                name = path.relative_to(folder).as_posix()
                early = name.endswith(".early.flac")
                audio = path.suffix.lower() in ENDINGS and name not in self.paths and not early
                shard = path.suffix == ".tar" and name not in self.shards
                if path.is_file() and (audio or shard):
                    self.report.found["not listed"].append(name)


def _files(folder: Path) -> Iterator[Path]:
    """All in a folder that can be read."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _outside(entry: Entry) -> str:
    """The path or the shard of an entry, if it lies outside the folder of the manifest."""
    names = (entry.path, entry.shard)
    return next((name for name in names if entry.within(name) is None), "")


def split_of(entry: Entry) -> str:
    """From its column, or the ending of its folder, such as ``speech_train``."""
    told = entry.facts.get("split", "")
    ending = entry.path.rpartition("/")[0].rpartition("/")[2].rpartition("_")[2]
    return told or (ending if ending in SPLITS else "")


def _job(entry: Entry, rate_hz: int | None, quick: bool) -> str:
    row = {**vars(entry), "folder": str(entry.folder), "facts": dict(entry.facts)}
    return json.dumps({"row": row, "rate_hz": rate_hz, "quick": quick})


def crashed(job: str) -> str:
    path = json.loads(job)["row"]["path"]
    return json.dumps({"found": [("unreadable", path, "the decoder crashed")]})


def look(job: str) -> str:
    """What is wrong with a recording, and a hash of its samples."""
    told = json.loads(job)
    row = told["row"]
    entry = Entry(**{**row, "folder": Path(row["folder"])})
    found: list[tuple[str, str, str]] = []
    content = None
    try:
        content = _look(entry, told["rate_hz"], told["quick"], found)
    except (OSError, FileError) as error:
        why = getattr(error, "strerror", None) or str(error)
        found.append(("unreadable", entry.path, why))
    except BadAudioError as error:
        found.append(("unreadable", entry.path, error.detail))
    return json.dumps(
        {"found": found, "path": entry.path, "split": split_of(entry), "content": content}
    )


def _look(
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
            told = facts.get("sample_rate_hz") or facts.get("file_sample_rate")
            wanted = rate_hz or int(told or file.samplerate)
            if file.samplerate != wanted:
                detail = f"{file.samplerate} Hz in place of {wanted}"
                found.append(("wrong rate", entry.path, detail))
            seconds = file.frames / file.samplerate
            told = float(facts.get("seconds") or seconds)
            if abs(seconds - told) > SECONDS_OFF:
                detail = f"{seconds:.3f} s in place of {told:.3f}"
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
