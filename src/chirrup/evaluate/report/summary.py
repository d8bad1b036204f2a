"""Summaries of the rows of a run: each system under each condition, with its mean scores."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.results import Results, Row, total_kbps
from chirrup.evaluate.statistics import Interval, interval


@dataclass(frozen=True)
class Score:
    """A metric over the clips of a system.

    Attributes:
        interval: mean and interval over the clips with a score; None if no clip has one.
        clips: number of clips with a score.
        of: number of all clips.
        why: reasons of the blank scores, the most frequent one first.
    """

    interval: Interval | None
    clips: int
    of: int
    why: tuple[str, ...]

    @property
    def missing(self) -> str:
        """A sentence such as ``3 of 39 clips have no score (silence; too short)``."""
        have = "has" if self.of == 1 else "have"
        clips = "clip" if self.of == 1 else "clips"
        missing, why = self.of - self.clips, "; ".join(self.why)
        return f"{missing} of {self.of} {clips} {have} no score ({why})"


@dataclass(frozen=True)
class SystemSummary:
    """A codec at a bitrate, under one condition.

    Attributes:
        kbps: actual bitrate of all clips together.
        encode_speed, decode_speed: seconds of audio per second of wall time; None if they were not
            measured.
    """

    key: str
    codec: str
    label: str
    title: str
    ours: bool
    kbps: float
    delay_ms: float
    encode_speed: float | None
    decode_speed: float | None
    clips: int
    scores: dict[str, Score]


def systems_by_condition(
    results: Results, metrics: Iterable[Metric]
) -> dict[str, list[SystemSummary]]:
    """Summarise the systems of each condition, sorted by actual bitrate."""
    metrics = list(metrics)
    rows: dict[str, dict[str, list[Row]]] = {}
    for row in results.rows:
        rows.setdefault(row.condition, {}).setdefault(row.system, []).append(row)
    return {
        condition: sorted(
            (_system(group, metrics) for group in systems.values()),
            key=lambda system: (system.kbps, system.title),
        )
        for condition, systems in rows.items()
    }


def blank_scores(systems: Iterable[SystemSummary], metrics: Iterable[Metric]) -> list[str]:
    """Return sentences on the metrics that lack scores of some clips.

    Systems that lack equally many scores, for equal reasons, share a sentence.
    """
    systems = list(systems)
    sentences = []
    for metric in metrics:
        titles: dict[str, list[str]] = {}
        for system in systems:
            score = system.scores[metric.name]
            if score.clips < score.of:
                titles.setdefault(score.missing, []).append(system.title)
        sentences += [f"{metric.label} of {', '.join(of)}: {text}" for text, of in titles.items()]
    return sentences


def scored_metrics(results: Results, metrics: Mapping[str, Metric]) -> list[Metric]:
    """Return the metrics that the rows have, in the order of ``metrics``."""
    named = {name for row in results.rows for name in (*row.scores, *row.blank)}
    return [metric for name, metric in metrics.items() if name in named]


def _system(rows: list[Row], metrics: list[Metric]) -> SystemSummary:
    first, seconds = rows[0], sum(row.seconds for row in rows)
    encode_seconds = sum(row.encode_seconds for row in rows)
    decode_seconds = sum(row.decode_seconds for row in rows)
    return SystemSummary(
        key=first.system,
        codec=first.codec,
        label=first.label,
        title=first.title,
        ours=first.ours,
        kbps=total_kbps(rows),
        delay_ms=first.delay_ms,
        encode_speed=seconds / encode_seconds if encode_seconds else None,
        decode_speed=seconds / decode_seconds if decode_seconds else None,
        clips=len(rows),
        scores={metric.name: _score(rows, metric.name) for metric in metrics},
    )


def _score(rows: list[Row], name: str) -> Score:
    why = [why_blank(row, name) for row in rows]
    values = [np.nan if reason else row.scores[name] for row, reason in zip(rows, why, strict=True)]
    return Score(
        interval=interval(np.array(values, dtype=np.float64), [row.speaker for row in rows]),
        clips=why.count(None),
        of=len(rows),
        why=tuple(reason for reason, _ in Counter(filter(None, why)).most_common()),
    )


def why_blank(row: Row, name: str) -> str | None:
    """Return why a clip has no finite score; None if it has one."""
    value = row.scores.get(name)
    if value is None or math.isnan(value):
        return row.blank.get(name) or "not scored"
    return "infinite: decoded equals the reference" if math.isinf(value) else None
