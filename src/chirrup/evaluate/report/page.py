"""The page: the compared systems, each condition, the players, and the settings of the run."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.report import plots
from chirrup.evaluate.report.html_tables import table
from chirrup.evaluate.report.listening import listening
from chirrup.evaluate.report.markup import Markup, element, markup
from chirrup.evaluate.report.summary import (
    SystemSummary,
    scored_metrics,
    systems_by_condition,
)
from chirrup.evaluate.results import Results, Row
from chirrup.files.drafts import written
from chirrup.files.page_sources import page_sources

CONDITIONS = {
    "clean": "unchanged clips",
    "noise": "noise added, {} dB below the speech",
    "reverb": "in a room",
    "talkers": "a second talker added, {} dB below the first",
    "loss": "{} % of the packets lost",
    "denoise": "noise added, {} dB below the speech; a codec should remove it",
    "dereverb": "in a room; a codec should keep only its first 50 ms",
}
HOW_TO_READ = (
    "Each cell has the mean over the clips and its 95 % interval (bootstrap over speakers). "
    "Bitrates are measured. ↑ higher is better, ↓ lower is better. Click a heading to sort."
)
HOW_TO_LISTEN = (
    "Click a spectrogram to play that system from there; another system continues at the same "
    "position. Keys: each player shows its own; space plays and pauses; the left and right arrows "
    "choose the previous and the next system. The reference is the input of the codecs, or the "
    "speech alone if noise or rooms should be removed. Levels are not changed."
)


def write_report(
    results: Results,
    folder: Path,
    out: Path,
    metrics: Mapping[str, Metric],
    *,
    listen: int = 6,
) -> None:
    """Write the report, one HTML file without references to other files.

    Args:
        results: results of a run.
        folder: folder of the run's audio (`chirrup.evaluate.results.audio_path`).
        out: file to write. It appears whole or not at all.
        metrics: known metrics, in the order of the columns.
        listen: number of clips with players, over all conditions. 14 systems of a clip of 5 s at
            24 kHz mono take about 2 MB.

    Raises:
        ValueError: the results have no row.
    """
    if not results.rows:
        raise ValueError("the results have no row, so there is nothing to report")
    shown = scored_metrics(results, metrics)
    systems = systems_by_condition(results, shown)
    body = markup(
        _head(results),
        _navigation(systems),
        element(
            "main",
            (_condition(name, found, shown, f"c{i}") for i, (name, found) in _count(systems)),
            element(
                "section",
                element("h2", "Listen"),
                element("p", HOW_TO_LISTEN, class_="hint"),
                listening(results, folder, systems, shown, listen),
                id="listen",
            ),
            _making(results, metrics),
        ),
    )
    with written(out) as draft:
        draft.write_text(page_of(f"Chirrup: {_codecs(results.rows)}", body), encoding="utf-8")


def page_of(title: str, body: Markup) -> str:
    own = files("chirrup.evaluate.report")
    player = page_sources().joinpath("modules", "player.js").read_text("utf-8")
    script = player + own.joinpath("page.js").read_text("utf-8")
    # The template puts a line end before and after the script, which the hash must include.
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; connect-src data:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    return Template(own.joinpath("page.html").read_text("utf-8")).substitute(
        policy=policy,
        title=markup(title),
        style=own.joinpath("page.css").read_text("utf-8"),
        body=body,
        script=script,
    )


def _head(results: Results) -> Markup:
    """Return the head of the page: codecs, clips, conditions, date and versions."""
    rows, run = results.rows, results.run
    clips = {(row.clip, row.speaker): row.seconds for row in rows}
    speakers = {row.speaker for row in rows}
    minutes = sum(clips.values()) / 60
    facts = {
        "Codecs": _codecs(rows),
        "Systems": str(len({row.system for row in rows})),
        "Clips": f"{len(clips)} of {_several(len(speakers), 'speaker')}, {minutes:.1f} minutes",
        "Conditions": ", ".join(dict.fromkeys(row.condition for row in rows)),
        "Date": plain(run.get("created")).replace("T", " ").replace("+00:00", " UTC"),
        "Machine": plain(run.get("machine")),
        "Versions": plain(run.get("versions")),
    }
    pairs = [
        element("div", element("dt", name), element("dd", fact))
        for name, fact in facts.items()
        if fact
    ]
    return element(
        "header",
        element("h1", "Codec comparison"),
        element("dl", *pairs, class_="facts"),
    )


def _codecs(rows: Sequence[Row]) -> str:
    labels = dict.fromkeys(row.label for row in sorted(rows, key=lambda row: not row.ours))
    return ", ".join(labels)


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _navigation(systems: Mapping[str, Sequence[SystemSummary]]) -> Markup:
    links = [element("a", name, href=f"#c{index}") for index, (name, _) in _count(systems)]
    links.append(element("a", "Listen", href="#listen"))
    links.append(element("a", "Settings", href="#made"))
    return element("nav", *links, aria_label="Sections")


def _count(systems: Mapping[str, Sequence[SystemSummary]]) -> Iterable[tuple[int, Any]]:
    return enumerate(systems.items())


def _condition(
    name: str, systems: Sequence[SystemSummary], metrics: Sequence[Metric], key: str
) -> Markup:
    meaning = _meaning(name)
    clips = max(system.clips for system in systems)
    look = plots.styles(systems)
    drawn = [
        plots.plot(metric, systems, look, f"{key}-{index}") for index, metric in enumerate(metrics)
    ]
    caption = f"Condition {name}" + (f": {meaning}" if meaning else "")
    return element(
        "section",
        element("h2", name, " ", element("small", meaning) if meaning else None),
        element("p", HOW_TO_READ, class_="hint"),
        table(systems, metrics, f"{caption}, {_several(clips, 'clip')}"),
        plots.legend(systems, look) if drawn else None,
        element("div", *drawn, class_="plots") if drawn else None,
        id=key,
    )


def _meaning(condition: str) -> str:
    """Return the meaning of the parts of a condition, such as ``noise-15+loss-10``."""
    parts = [part.partition("-") for part in condition.split("+")]
    return "; ".join(
        CONDITIONS[kind].format(value) for kind, _, value in parts if kind in CONDITIONS
    )


def _making(results: Results, metrics: Mapping[str, Metric]) -> Markup:
    """Return the settings and versions that the run has recorded."""
    models = {row.label: row.version for row in results.rows if row.version}
    others = sorted({name for row in results.rows for name in row.scores} - set(metrics))
    made = {**results.run, "weights": models, "scored, not shown here": others}
    return element(
        "section",
        element("h2", "Settings"),
        settings_list({name: value for name, value in made.items() if value not in ({}, [])}),
        id="made",
    )


def settings_list(values: Mapping[str, Any]) -> Markup:
    """Return a list of names and values. A nested mapping becomes a nested list."""
    pairs = []
    for name, value in values.items():
        several = isinstance(value, Mapping) and value
        nested = settings_list(value) if several else plain(value) or "not set"
        pairs.append(element("div", element("dt", str(name)), element("dd", nested)))
    return element("dl", *pairs, class_="settings")


def plain(value: Any) -> str:
    """Write a value of JSON as text; a mapping becomes ``name value, name value``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)
