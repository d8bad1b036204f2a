"""The table of a condition: a row a system, a column a metric, and a note on each blank score."""

import math
from collections.abc import Sequence

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.report.markup import Markup, element, markup
from chirrup.evaluate.report.summary import Score, SystemSummary, blank_scores
from chirrup.words import counted

BLANK = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
ARROWS = {"higher": "↑", "lower": "↓"}
DELAY_HINT = (
    "Time by which the decoded audio lags behind the clip, found from the audio of all clips and "
    "removed before scoring. It contains the filters and the look-ahead that a decoder leaves in "
    "its output. It is not the latency of a call: the duration of a frame, the computation and the "
    "network are not in it. Codecs whose decoders remove their delay have 0"
)
SCROLL_HINT = "More columns: scroll the table sideways →"
SPEED_HINT = "Seconds of audio per second of wall time, on the machine named above"


def number(value: float, digits: int) -> str:
    """Format a number, without a minus sign before zero."""
    return f"{value:z.{digits}f}"


def rate(kbps: float) -> str:
    """Format a bitrate: ``0.81``, ``12.3``, ``128``."""
    return number(kbps, 2 if kbps < 10 else 1 if kbps < 100 else 0)


def heading(metric: Metric) -> str:
    """Return the heading of a metric, such as ``LSD, dB ↓``."""
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.label}{unit} {ARROWS[metric.better]}"


def table(systems: Sequence[SystemSummary], metrics: Sequence[Metric], caption: str) -> Markup:
    """Return a row for each system. The page's script sorts the columns."""
    columns = [
        ("System", "Codec at its nominal bitrate in kbit/s"),
        ("kbit/s", "Actual bitrate of all clips together"),
        *((heading(metric), _range(metric)) for metric in metrics),
        ("delay removed, ms", DELAY_HINT),
        (f"encode, {TIMES} real time", SPEED_HINT),
        (f"decode, {TIMES} real time", SPEED_HINT),
    ]
    rows = [element("tr", *_cells(s, metrics), class_="ours" if s.ours else None) for s in systems]
    body = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *(_head(text, hint) for text, hint in columns))),
        element("tbody", *rows),
    )
    more = element("p", SCROLL_HINT, class_="more", aria_hidden="true")
    wide = element("div", body, class_="wide", tabindex=0, role="region", aria_label=caption)
    return markup(more, wide, notes(systems, metrics), _meanings(columns))


def _meanings(columns: Sequence[tuple[str, str]]) -> Markup:
    """Return the hints of the headings as text, because a touch screen shows no titles."""
    pairs = [
        element("div", element("dt", text), element("dd", f"{hint}.")) for text, hint in columns
    ]
    summary = element("summary", "What the columns mean, and what the delay contains")
    return element("details", summary, element("dl", *pairs, class_="meanings"), class_="notes")


def notes(systems: Sequence[SystemSummary], metrics: Sequence[Metric]) -> Markup | None:
    """Return the number of blank scores behind each mean, with the reasons."""
    lines = blank_scores(systems, metrics)
    if not lines:
        return None
    return element(
        "details",
        element("summary", f"Blank scores: {len(lines)} (a blank is never counted as zero)"),
        element("ul", *(element("li", line) for line in lines)),
        class_="notes",
        open=len(lines) <= 6,
    )


def _head(text: str, hint: str) -> Markup:
    return element("th", element("button", text, type="button", title=hint), scope="col")


def _cells(system: SystemSummary, metrics: Sequence[Metric]) -> list[Markup]:
    mark = element("span", "ours", class_="badge") if system.ours else None
    speeds = [_speed(speed) for speed in (system.encode_speed, system.decode_speed)]
    return [
        element("th", system.title, " " if mark else None, mark, scope="row"),
        _cell(rate(system.kbps), system.kbps),
        *(_score(system.scores[metric.name], metric) for metric in metrics),
        _cell(number(system.delay_ms, 1), system.delay_ms),
        *speeds,
    ]


def _cell(text: str, value: float, *more: Markup | None) -> Markup:
    return element("td", text, *more, data_value=value)


def _speed(speed: float | None) -> Markup:
    if speed is None:
        return element("td", BLANK, title="not measured", class_="blank")
    digits = 0 if speed >= 100 else 1 if speed >= 10 else 2
    return _cell(number(speed, digits), speed)


def _score(score: Score, metric: Metric) -> Markup:
    if score.interval is None:
        return element("td", BLANK, title=score.missing, class_="blank")
    mean, low, high = (number(value, metric.digits) for value in score.interval)
    fewer = None
    if score.clips < score.of:
        fewer = element(
            "span",
            f"{score.clips} of {counted(score.of, 'clip')}",
            class_="fewer",
            title=score.missing,
        )
    ends = None
    if score.interval.known:
        ends = element("span", f"{low}{NO_BREAK}to {high}", class_="interval")
    return _cell(mean, score.interval.mean, ends, fewer)


def _range(metric: Metric) -> str:
    ends = [(metric.lowest, "from {:g}"), (metric.highest, "to {:g}")]
    scale = " ".join(text.format(end) for end, text in ends if end is not None)
    if metric.lowest is None and metric.highest is not None and math.isfinite(metric.highest):
        scale = f"up to {metric.highest:g}"
    return f"{metric.better.capitalize()} is better" + (f", {scale}" if scale else "")
