"""The page: what was compared, then each condition, then the players, then how it was made."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from chirrup.evaluate.report import plots
from chirrup.evaluate.report.listening import listening
from chirrup.evaluate.report.markup import Markup, element, markup
from chirrup.evaluate.report.summary import (
    Metric,
    System,
    scored_metrics,
    systems_by_condition,
)
from chirrup.evaluate.report.tables import table
from chirrup.evaluate.results import Results, Row
from chirrup.files.drafts import written

CONDITIONS = {
    "clean": "clips as they are",
    "noise": "with noise, the speech {} dB above it",
    "reverb": "in a room",
    "talkers": "with a second talker, the first {} dB above",
    "loss": "{} % of the packets lost",
    "denoise": "with noise that is to go, the speech {} dB above it",
    "dereverb": "in a room that is to go, but for its first 50 ms",
}
HOW_TO_READ = (
    "Mean over the clips, and below it the 95 % interval of that mean (bootstrap over speakers). "
    "Bitrates are what was sent. ↑ higher is better, ↓ lower is better. A heading sorts the table."
)
HOW_TO_LISTEN = (
    "Click a spectrogram to hear that system from there; another system goes on at the same place. "
    "Keys: the one shown at each player, space to play or pause, arrows left and right for the "
    "system before or after. The reference is what every codec was given, or speech alone where "
    "noise or rooms are to go; levels are untouched."
)


def write_report(
    results: Results,
    folder: Path,
    out: Path,
    metrics: Mapping[str, Metric],
    *,
    listen: int = 6,
) -> None:
    """One HTML file without any outside reference: tables, plots, players.

    Args:
        results: of a run, with at least one row.
        folder: where the run's audio is (see `chirrup.evaluate.results.audio_path`).
        out: the file to write, whole or not at all.
        metrics: all that are known, in the order of the columns.
        listen: how many clips get players, over all conditions. 14 systems of a clip of 5 s at
            24 kHz mono take about 2 MB.
    """
    if not results.rows:
        raise ValueError("results without a row make no report")
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
    script = own.joinpath("page.js").read_text("utf-8")
    # Between its tags the script is what the template's two line ends and the file make of it.
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
    """What was compared, on how much, when, with what."""
    rows, run = results.rows, results.run
    clips = {(row.clip, row.speaker): row.seconds for row in rows}
    speakers = {row.speaker for row in rows}
    minutes = sum(clips.values()) / 60
    facts = {
        "Codecs": _codecs(rows),
        "Systems": str(len({row.system for row in rows})),
        "Clips": f"{len(clips)} of {_several(len(speakers), 'speaker')}, {minutes:.1f} minutes",
        "Conditions": ", ".join(dict.fromkeys(row.condition for row in rows)),
        "Made": plain(run.get("created")).replace("T", " ").replace("+00:00", " UTC"),
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


def _navigation(systems: Mapping[str, Sequence[System]]) -> Markup:
    links = [element("a", name, href=f"#c{index}") for index, (name, _) in _count(systems)]
    links.append(element("a", "Listen", href="#listen"))
    links.append(element("a", "How it was made", href="#made"))
    return element("nav", *links, aria_label="Sections")


def _count(systems: Mapping[str, Sequence[System]]) -> Iterable[tuple[int, Any]]:
    return enumerate(systems.items())


def _condition(name: str, systems: Sequence[System], metrics: Sequence[Metric], key: str) -> Markup:
    kind, _, value = name.partition("-")
    meaning = CONDITIONS.get(kind, "").format(value)
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


def _making(results: Results, metrics: Mapping[str, Metric]) -> Markup:
    """Everything that the run says of itself."""
    models = {row.label: row.version for row in results.rows if row.version}
    others = sorted({name for row in results.rows for name in row.scores} - set(metrics))
    made = {**results.run, "weights": models, "scored, not shown here": others}
    return element(
        "section",
        element("h2", "How it was made"),
        settings_list({name: value for name, value in made.items() if value not in ({}, [])}),
        id="made",
    )


def settings_list(values: Mapping[str, Any]) -> Markup:
    """Names and values; a mapping within is a list of its own."""
    pairs = []
    for name, value in values.items():
        several = isinstance(value, Mapping) and value
        nested = settings_list(value) if several else plain(value) or "not set"
        pairs.append(element("div", element("dt", str(name)), element("dd", nested)))
    return element("dl", *pairs, class_="settings")


def plain(value: Any) -> str:
    """A value of JSON in words; mappings as ``name value, name value``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)
