"""Players: the reference and every system of each chosen clip, side by side.

A player is an ``audio`` element with the FLAC file, its spectrogram and its scores. If scripts run,
``page.js`` gives the players of a clip one clock, so that switching between systems keeps the
position. Without scripts the controls of the browser remain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.report import spectrogram
from chirrup.evaluate.report.html_tables import BLANK, number, rate
from chirrup.evaluate.report.markup import Markup, data_uri, element, markup
from chirrup.evaluate.report.summary import SystemSummary, why_blank
from chirrup.evaluate.results import Results, Row, audio_path
from chirrup.files.sounds import read_sound

KEYS = "0123456789abcdefghijklmnopqrstuvwxyz"
REFERENCE = "reference"
SCORES_SHOWN = 6
"""Further scores of a player are folded."""


def chosen_clips(results: Results, folder: Path, listen: int) -> list[tuple[str, str]]:
    """Choose up to ``listen`` pairs of condition and clip that have audio.

    The pairs are shared evenly among the conditions, then spread evenly over the clips, sorted by
    speaker. Conditions with the same clips get the same choice.
    """
    stored: dict[str, dict[str, str]] = {}
    for row in results.rows:
        if audio_path(folder, row.condition, row.clip, REFERENCE).is_file():
            stored.setdefault(row.condition, {})[row.clip] = row.speaker
    chosen = []
    for number_, (condition, speakers) in enumerate(stored.items()):
        share = listen // len(stored) + (number_ < listen % len(stored))
        clips = sorted(speakers, key=lambda clip: (speakers[clip], clip))
        picks = np.linspace(0, len(clips) - 1, min(share, len(clips))).round().astype(int)
        chosen += [(condition, clips[pick]) for pick in picks]
    return chosen


def listening(
    results: Results,
    folder: Path,
    systems: dict[str, list[SystemSummary]],
    metrics: Sequence[Metric],
    listen: int,
) -> Markup:
    """Return the players of the chosen clips, or a sentence if there is no audio."""
    chosen = chosen_clips(results, folder, listen)
    if not chosen:
        why = "The option --listen is 0" if listen < 1 else "No audio was kept with these results"
        return element("p", f"{why}, so there are no players.", class_="empty")
    rows = {(row.condition, row.clip, row.system): row for row in results.rows}
    clips = []
    for index, (condition, clip) in enumerate(chosen):
        here = [rows.get((condition, clip, system.key)) for system in systems[condition]]
        clips.append(_clip([row for row in here if row], folder, metrics, f"clip-{index}"))
    return markup(clips)


@dataclass(frozen=True)
class Recording:
    """A FLAC file, with the levels of its spectrogram in dB."""

    content: bytes
    level_db: np.ndarray
    rate_hz: int

    @staticmethod
    def read(path: Path) -> "Recording":
        audio, rate_hz = read_sound(path)
        return Recording(path.read_bytes(), spectrogram.power_db(audio, rate_hz), rate_hz)


def _clip(rows: list[Row], folder: Path, metrics: Sequence[Metric], key: str) -> Markup:
    """Return the players of one clip. Each row is of another system."""
    first = rows[0]
    reference = Recording.read(audio_path(folder, first.condition, first.clip, REFERENCE))
    top_db = float(reference.level_db.max())
    players = [_player("Reference", "", reference, top_db, KEYS[0], None)]
    for index, row in enumerate(rows, 1):
        path = audio_path(folder, row.condition, row.clip, row.system)
        recording = Recording.read(path) if path.is_file() else None
        shortcut = KEYS[index] if index < len(KEYS) else None
        scores = _scores(row, metrics)
        sent = f"{rate(row.kbps)} kbit/s"
        players.append(_player(row.title, sent, recording, top_db, shortcut, scores, row.ours))
    facts = f"{first.condition}, speaker {first.speaker}, {first.seconds:.1f} s"
    scale = (
        f"Spectrograms: 0 to {reference.rate_hz / 2000:g} kHz, the loudest "
        f"{spectrogram.RANGE_DB:g} dB of the reference."
    )
    return element(
        "section",
        element("h3", first.clip, " ", element("small", facts), id=key),
        _transport(first),
        element("div", *players, class_="players"),
        element("p", scale, class_="hint"),
        class_="clip",
        aria_labelledby=key,
        data_seconds=round(first.seconds, 3),
    )


def _transport(row: Row) -> Markup:
    """Return the controls that all players of a clip share. They need scripts."""
    return element(
        "div",
        element("button", "Play", type="button", class_="toggle"),
        element(
            "input",
            type="range",
            class_="position",
            min=0,
            max=1,
            step=0.01,
            value=0,
            aria_label=f"Position in {row.clip}",
        ),
        element("output", f"0.0 of {row.seconds:.1f} s", class_="time"),
        element("label", element("input", type="checkbox", class_="repeat"), " repeat"),
        class_="transport",
    )


def _player(
    title: str,
    sent: str,
    recording: Recording | None,
    top_db: float,
    shortcut: str | None,
    scores: Markup | None,
    ours: bool = False,
) -> Markup:
    caption = element(
        "figcaption",
        element("kbd", shortcut) if shortcut else None,
        element("span", title, class_="name"),
        element("span", sent, class_="sent") if sent else None,
    )
    if recording is None:
        empty = element("p", "No audio was kept.", class_="empty")
        return element("figure", caption, empty, scores, class_="player")
    picture = spectrogram.image(recording.level_db, top_db)
    return element(
        "figure",
        caption,
        element(
            "div",
            element(
                "img",
                src=data_uri("image/png", picture),
                alt=f"Spectrogram of {title}",
                width=spectrogram.WIDTH,
                height=spectrogram.HEIGHT,
            ),
            class_="seek",
        ),
        element(
            "audio",
            controls=True,
            preload="none",
            src=data_uri("audio/flac", recording.content),
            aria_label=title,
        ),
        scores,
        class_="player ours" if ours else "player",
        data_key=shortcut,
    )


def _scores(row: Row, metrics: Sequence[Metric]) -> Markup | None:
    pairs = []
    for metric in metrics:
        why, value = why_blank(row, metric.name), row.scores.get(metric.name)
        shown = BLANK if why or value is None else number(value, metric.digits)
        unit = f" {metric.unit}" if metric.unit and not why else ""
        pairs.append(
            element(
                "div",
                element("dt", metric.label),
                element("dd", shown, unit, title=why, class_="blank" if why else None),
            )
        )
    if not pairs:
        return None
    shown = element("dl", *pairs[:SCORES_SHOWN], class_="scores")
    if len(pairs) <= SCORES_SHOWN:
        return shown
    more = element("dl", *pairs[SCORES_SHOWN:], class_="scores")
    return markup(shown, element("details", element("summary", "more scores"), more))
