"""Tables of results for the terminal and Markdown: a row a system, sorted by actual bitrate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.results import Row, total_kbps
from chirrup.evaluate.statistics import Interval, interval, paired

FAR = 1.5
"""Systems are compared only if their bitrates differ by less than this factor."""


@dataclass(frozen=True)
class Line:
    """A system under a condition.

    Attributes:
        title: codec and nominal kbit/s.
        kbps: actual bitrate of all clips together.
        cells: mean of each metric; None if all its scores are blank.
    """

    title: str
    ours: bool
    kbps: float
    delay_ms: float
    cells: dict[str, Interval | None]


def lines(rows: Iterable[Row], metrics: Sequence[str]) -> list[Line]:
    """Return a line for each system, sorted by actual bitrate. The rows are of one condition."""
    systems: dict[str, list[Row]] = {}
    for row in rows:
        systems.setdefault(row.system, []).append(row)
    result = [
        Line(
            title=group[0].title,
            ours=group[0].ours,
            kbps=total_kbps(group),
            delay_ms=group[0].delay_ms,
            cells={name: interval(_values(group, name), _speakers(group)) for name in metrics},
        )
        for group in systems.values()
    ]
    return sorted(result, key=lambda line: line.kbps)


def cell(value: Interval | None, metric: Metric, intervals: bool = True) -> str:
    """Format a mean: ``2.42 (2.17 to 2.64)``, ``2.42`` without interval, or nothing if blank."""
    if value is None:
        return ""
    form = f".{metric.digits}f"
    mean = f"{value.mean:{form}}"
    shown = intervals and value.known
    return f"{mean} ({value.low:{form}} to {value.high:{form}})" if shown else mean


def markdown(rows: Sequence[Row], metrics: Mapping[str, Metric], *, intervals: bool = True) -> str:
    """Return a Markdown table of the rows of one condition. Our models are in bold."""
    headings = ["codec", "kbit/s", *(_heading(metric) for metric in metrics.values())]
    text = [f"| {' | '.join(headings)} |", f"|{'--|' * len(headings)}"]
    for line in lines(rows, list(metrics)):
        title = f"**{line.title}**" if line.ours else line.title
        cells = [cell(line.cells[name], metric, intervals) for name, metric in metrics.items()]
        text.append(f"| {' | '.join([title, f'{line.kbps:.2f}', *cells])} |")
    return "\n".join(text) + "\n"


def differences(rows: Sequence[Row], metric: Metric) -> list[str]:
    """Compare each of our systems with the peer nearest in actual bitrate, clip by clip.

    There is no comparison if the bitrates differ by the factor `FAR`, or if there is one clip.

    Returns:
        A sentence for each comparison.
    """
    found = lines(rows, [])
    peers = [line for line in found if not line.ours]
    text = []
    for line in (line for line in found if line.ours and peers):
        peer = min(peers, key=lambda other: abs(np.log(other.kbps / line.kbps)))
        ours, theirs = (
            {row.clip: row for row in rows if row.title == title}
            for title in (line.title, peer.title)
        )
        if not 1 / FAR < peer.kbps / line.kbps < FAR:
            continue
        both = [clip for clip in ours if clip in theirs]
        gain = paired(
            [ours[clip].scores.get(metric.name) for clip in both],
            [theirs[clip].scores.get(metric.name) for clip in both],
            [ours[clip].speaker for clip in both],
        )
        if gain is not None and gain.known:
            form = f"+.{metric.digits}f"
            text.append(
                f"{metric.label} of {line.title} ({line.kbps:.3g} kbit/s) less {peer.title} "
                f"({peer.kbps:.3g} kbit/s): {gain.mean:{form}} "
                f"({gain.low:{form}} to {gain.high:{form}})"
            )
    return text


def _heading(metric: Metric) -> str:
    arrow = "higher" if metric.better == "higher" else "lower"
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.label}{unit} ({arrow} is better)"


def _values(rows: Sequence[Row], name: str) -> np.ndarray:
    values = (row.scores.get(name) for row in rows)
    return np.array([np.nan if value is None else value for value in values])


def _speakers(rows: Sequence[Row]) -> list[str]:
    return [row.speaker for row in rows]
