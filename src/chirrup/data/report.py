"""The report of a corpus: one HTML page with tables of sources, refusals and splits, and plots.

The table of sources has the columns of table 1 of the LRAC 2025 baseline (arXiv 2510.00264), and
the plot of noise categories is its figure 2.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.data.item import KINDS, SPLITS
from chirrup.data.plots import bars, histogram
from chirrup.data.recipe import Recipe
from chirrup.data.store import Store, Stored
from chirrup.evaluate.report.markup import Markup, element, markup
from chirrup.evaluate.report.page import page_of, settings_list
from chirrup.files.drafts import written
from chirrup.words import counted

BINS = {
    "snr_db": np.linspace(0, 80, 41),
    "rt60_s": np.linspace(0, 1.5, 31),
    "bandwidth_hz": np.linspace(0, 24_000, 49),
    "loudness_lufs": np.linspace(-60, 0, 31),
    "silence_share": np.linspace(0, 1, 26),
    "seconds": np.linspace(0, 60, 31),
    "dnsmos": np.linspace(1, 5, 33),
    "direct_to_reverberant_db": np.linspace(-20, 40, 31),
}
"""Edges of the histograms. Values outside count in the first and last bin."""
ROOM_BINS = BINS | {"rt60_s": np.linspace(0, 4, 41), "seconds": np.linspace(0, 5, 51)}
LABELS = {
    "snr_db": "Signal-to-noise ratio, dB",
    "rt60_s": "Reverberation time, s",
    "bandwidth_hz": "Effective bandwidth, Hz",
    "loudness_lufs": "Loudness, LUFS",
    "silence_share": "Share of silence",
    "seconds": "Length, s",
    "dnsmos": "DNSMOS",
    "direct_to_reverberant_db": "Direct-to-reverberant ratio, dB",
}
NAMES = {"speech": "Speech", "noise": "Noise", "music": "Music", "rir": "Room responses"}
MOST_BARS = 25
READING = (
    "Original: recordings of a source that could be read. Kept: recordings that passed the filters "
    "and the balance of the recipe. The first and last bar of a histogram include values beyond it."
)


@dataclass
class Sum:
    """Sum of the lengths, recordings and groups of some clips."""

    seconds: float = 0.0
    clips: int = 0
    groups: set[str] = field(default_factory=set)

    def add(self, clip: Stored) -> None:
        """Add a clip."""
        self.seconds += clip.record["seconds"]
        self.clips += 1
        self.groups.add(clip.item.group)


def _sums() -> defaultdict[Any, Sum]:
    return defaultdict(Sum)


@dataclass
class Summary:
    """Counts of a corpus, whose memory grows with its speakers, not with its recordings."""

    original: defaultdict[tuple[str, str], Sum] = field(default_factory=_sums)
    """All readable clips, by kind and source."""
    taken: defaultdict[tuple[str, str], Sum] = field(default_factory=_sums)
    """Kept clips, by kind and source."""
    splits: defaultdict[tuple[str, str], Sum] = field(default_factory=_sums)
    facts: defaultdict[tuple[str, str], Sum] = field(default_factory=_sums)
    """Kept clips, by name and value of a fact: language, gender, category or licence."""
    speakers: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    histograms: dict[tuple[str, str, bool], np.ndarray] = field(default_factory=dict)
    """Counts by kind, figure, and whether the clips are kept."""
    kept: int = 0
    refused: int = 0
    kept_seconds: float = 0.0

    def add(self, clip: Stored) -> None:
        """Add a clip or a refusal."""
        item, record = clip.item, clip.record
        if clip.reason:
            self.refused += 1
            self.reasons[item.kind, clip.reason] += 1
        if "seconds" not in record:
            return
        self.original[item.kind, item.source].add(clip)
        for name, value in record.items():
            if name in BINS:
                self._count(item.kind, name, value, not clip.reason)
        if clip.reason:
            return
        self.kept += 1
        self.kept_seconds += record["seconds"]
        self.taken[item.kind, item.source].add(clip)
        self.splits[item.kind, clip.split].add(clip)
        self.facts["licence", item.licence or "none"].add(clip)
        if item.kind == "speech":
            self.speakers[item.group] += record["seconds"]
            self.facts["language", item.language or "unknown"].add(clip)
            self.facts["gender", item.gender or "unknown"].add(clip)
        if item.kind == "noise":
            category = item.category or record.get("category") or "unknown"
            self.facts["category", category].add(clip)

    def _count(self, kind: str, name: str, value: float, kept: bool) -> None:
        bins = bins_of(kind)[name]
        counts = self.histograms.setdefault((kind, name, kept), np.zeros(len(bins) - 1, int))
        place = int(np.searchsorted(bins, value, side="right")) - 1
        counts[min(max(place, 0), len(counts) - 1)] += 1


def bins_of(kind: str) -> dict[str, np.ndarray]:
    """Return the edges of the histograms of a kind."""
    return ROOM_BINS if kind == "rir" else BINS


def write_report(store: Store, recipe: Recipe, out: Path) -> Summary:
    """Write the page, whole or not at all, and return its counts."""
    summary = Summary()
    for clip in store.stored():
        summary.add(clip)
    kinds = [kind for kind in KINDS if any(key[0] == kind for key in summary.original)]
    body = markup(
        _head(summary),
        element(
            "nav",
            *(element("a", NAMES[kind], href=f"#{kind}") for kind in kinds),
            element("a", "Licences", href="#licences"),
            element("a", "How it was made", href="#made"),
            aria_label="Sections",
        ),
        element(
            "main",
            *(_kind(summary, kind) for kind in kinds),
            _licences(summary),
            element(
                "section",
                element("h2", "How it was made"),
                settings_list(recipe.plain()),
                id="made",
            ),
        ),
    )
    with written(out) as draft:
        draft.write_text(page_of("Chirrup: a corpus", body), encoding="utf-8")
    return summary


def _head(summary: Summary) -> Markup:
    facts = {
        "Kept": f"{counted(summary.kept, 'recording')}, {_hours(summary.kept_seconds)} hours",
        "Refused": counted(summary.refused, "recording"),
        "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    pairs = [
        element("div", element("dt", name), element("dd", fact)) for name, fact in facts.items()
    ]
    return element("header", element("h1", "Corpus"), element("dl", *pairs, class_="facts"))


def _kind(summary: Summary, kind: str) -> Markup:
    plots = [
        histogram(
            LABELS[name],
            bins,
            summary.histograms.get((kind, name, True)),
            summary.histograms.get((kind, name, False)),
        )
        for name, bins in bins_of(kind).items()
        if (kind, name, True) in summary.histograms or (kind, name, False) in summary.histograms
    ]
    if kind == "speech" and summary.speakers:
        minutes = np.array(list(summary.speakers.values())) / 60
        edges = np.linspace(0, max(1.0, minutes.max()), 31)
        plots.append(histogram("Minutes of a speaker", edges, np.histogram(minutes, edges)[0]))
        for fact, label in (("language", "Languages"), ("gender", "Genders")):
            if len(_largest(summary, fact)) > 1:
                plots.append(_bars(summary, fact, label))
    if kind == "noise":
        plots.insert(0, _bars(summary, "category", "Noise by category"))
    return element(
        "section",
        element("h2", NAMES[kind]),
        element("p", READING, class_="hint"),
        _curation(summary, kind),
        element("h3", "Splits"),
        _splits(summary, kind),
        _refusals(summary, kind),
        element("div", *plots, class_="plots"),
        id=kind,
    )


def _curation(summary: Summary, kind: str) -> Markup:
    """Return the table of kept and original hours by source."""
    sources = sorted(source for of, source in summary.original if of == kind)
    rows = [
        (source, summary.taken[kind, source], summary.original[kind, source]) for source in sources
    ]
    total = ("Total", _added(row[1] for row in rows), _added(row[2] for row in rows))
    headings = ("Source", "Kept (h)", "Original (h)", "Retention", "Recordings", "Groups")
    *cells, last = [
        (
            name,
            _hours(kept.seconds),
            _hours(original.seconds),
            f"{kept.seconds / max(original.seconds, 1e-9):.2%}",
            f"{kept.clips} of {original.clips}",
            f"{len(kept.groups)} of {len(original.groups)}",
        )
        for name, kept, original in [*rows, total]
    ]
    return table(headings, cells, f"Curation of {NAMES[kind].lower()} by source", last)


def _added(sums: Any) -> Sum:
    total = Sum()
    for one in sums:
        total.seconds += one.seconds
        total.clips += one.clips
        total.groups |= one.groups
    return total


def _splits(summary: Summary, kind: str) -> Markup:
    cells = [
        (split, _hours(one.seconds), str(one.clips), str(len(one.groups)))
        for split in SPLITS
        if (one := summary.splits.get((kind, split)))
    ]
    headings = ("Split", "Hours", "Recordings", "Groups")
    return table(headings, cells, f"Splits of {NAMES[kind].lower()}")


def _refusals(summary: Summary, kind: str) -> Markup | None:
    counts = [(reason, n) for (of, reason), n in summary.reasons.most_common() if of == kind]
    if not counts:
        return None
    cells = [(reason, str(count)) for reason, count in counts]
    title = element("h3", "Refused")
    return markup(title, table(("Reason", "Recordings"), cells, "Refusals by reason"))


def _licences(summary: Summary) -> Markup:
    cells = [
        (value, _hours(one.seconds), str(one.clips))
        for value, one in _largest(summary, "licence").items()
    ]
    return element(
        "section",
        element("h2", "Licences"),
        table(("Licence", "Hours", "Recordings"), cells, "Licences"),
        id="licences",
    )


def _bars(summary: Summary, fact: str, label: str) -> Markup:
    found = _largest(summary, fact)
    shown = dict(list(found.items())[:MOST_BARS])
    more = f" (the {MOST_BARS} largest of {len(found)})" if len(found) > MOST_BARS else ""
    return bars(f"{label}, minutes{more}", {name: s.seconds / 60 for name, s in shown.items()})


def _largest(summary: Summary, fact: str) -> Mapping[str, Sum]:
    found = {value: one for (name, value), one in summary.facts.items() if name == fact}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].seconds, pair[0])))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    last: Sequence[str] | None = None,
) -> Markup:
    """Return a table that the page's script can sort, except for the ``last`` row."""
    head = [
        element("th", element("button", heading, type="button"), scope="col")
        for heading in headings
    ]
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *map(_row, rows)),
        element("tfoot", _row(last)) if last else None,
    )
    return element("div", inner, class_="wide", tabindex=0, role="region", aria_label=caption)


def _row(cells: Sequence[str]) -> Markup:
    values = [
        element("td", text, data_value=text.partition(" ")[0].rstrip("%")) for text in cells[1:]
    ]
    return element("tr", element("th", cells[0], scope="row"), *values)
