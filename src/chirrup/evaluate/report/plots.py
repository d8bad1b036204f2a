"""Plots of quality against bitrate as SVG: one plot a metric, one line a codec.

The horizontal axis is the actual bitrate, on a log scale. Bars are the 95 % intervals. Colours come
from ``page.css``, which has sets for light and dark pages, and markers from `MARKERS`. Models of
this package have thick lines and filled markers. ``page.js`` highlights a codec in all plots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.report.html_tables import heading, number, rate
from chirrup.evaluate.report.markup import Markup, element
from chirrup.evaluate.report.summary import SystemSummary

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 42

MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",  # circle
    "M-3.6,-3.6h7.2v7.2h-7.2z",  # square
    "M0,-4.8L4.4,3.4H-4.4z",  # triangle
    "M0,-5L5,0L0,5L-5,0z",  # diamond
    "M0,4.8L4.4,-3.4H-4.4z",  # triangle, point down
    "M-1.6,-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",  # cross
    "M0,-5L4.8,-1.5L2.9,4.1H-2.9L-4.8,-1.5z",  # pentagon
)
COLOURS = 6
"""Number of colours in ``page.css`` for our models, and for other codecs."""


@dataclass(frozen=True)
class Style:
    """The look of a codec in all plots: a class of ``page.css``, and a marker."""

    class_: str
    marker: str


def styles(systems: Sequence[SystemSummary]) -> dict[str, Style]:
    """Return the style of each codec. Our models and other codecs have different colours."""
    found: dict[str, Style] = {}
    counts = {True: 0, False: 0}
    for system in systems:
        if system.codec not in found:
            colour = f"{'ours' if system.ours else 'other'} colour-{counts[system.ours] % COLOURS}"
            found[system.codec] = Style(colour, MARKERS[len(found) % len(MARKERS)])
            counts[system.ours] += 1
    return found


def legend(systems: Sequence[SystemSummary], look: dict[str, Style]) -> Markup:
    """Return the buttons with the names of the codecs, which highlight a codec in the plots."""
    labels = {system.codec: system.label for system in systems}
    items = [
        element("button", _swatch(look[codec]), label, type="button", data_codec=codec)
        for codec, label in labels.items()
    ]
    return element("div", *items, class_="legend", role="group", aria_label="Codecs in the plots")


def plot(
    metric: Metric, systems: Sequence[SystemSummary], look: dict[str, Style], key: str
) -> Markup:
    """Return the plot of one metric. ``key`` makes its ids unique on the page."""
    scored = [system for system in systems if system.scores[metric.name].interval]
    title = element("figcaption", heading(metric))
    if not scored:
        return element("figure", title, element("p", "No system has a score.", class_="empty"))
    across, up = _rates(scored), _values(scored, metric)
    by_codec: dict[str, list[SystemSummary]] = {}
    for system in scored:
        by_codec.setdefault(system.codec, []).append(system)
    ours_last = sorted(by_codec.values(), key=lambda group: group[0].ours)
    svg = element(
        "svg",
        element("title", f"{metric.label} against bitrate", id=f"{key}-title"),
        element("desc", _description(metric, scored), id=f"{key}-desc"),
        _grid(across, up, metric),
        *(_codec(group, metric, look[group[0].codec], across, up) for group in ours_last),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )
    return element("figure", title, svg)


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float]
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def _rates(systems: Sequence[SystemSummary]) -> Axis:
    rates = [system.kbps for system in systems]
    low, high = min(rates) / 1.25, max(rates) * 1.25
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        ticks = [x for d in decades for step in steps if low <= (x := step * 10.0**d) <= high]
        if len(ticks) >= 3:
            break
    return Axis(low, high, LEFT, WIDTH - RIGHT, ticks, log=True)


def _values(systems: Sequence[SystemSummary], metric: Metric) -> Axis:
    values = [x for s in systems if (found := s.scores[metric.name].interval) for x in found]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or max(abs(high) * 0.1, 10.0**-metric.digits)
    low, high = low - margin, high + margin
    step = _nice((high - low) / 6)
    ticks = [float(x) for x in np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step]
    return Axis(low, high, HEIGHT - BOTTOM, TOP, ticks)


def _nice(step: float) -> float:
    """Return the next larger of 1, 2, 2.5, 5, 10, 20, ... and their tenths."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= step)


def _grid(across: Axis, up: Axis, metric: Metric) -> Markup:
    foot, lines = HEIGHT - BOTTOM, []
    for tick in up.ticks:
        lines.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=up(tick), y2=up(tick)))
        lines.append(element("text", _tick(tick, up), x=LEFT - 7, y=up(tick) + 4, class_="up"))
    for tick in across.ticks:
        lines.append(element("line", x1=across(tick), x2=across(tick), y1=TOP, y2=foot))
        lines.append(element("text", f"{tick:g}", x=across(tick), y=foot + 17, class_="across"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(element("text", "kbit/s", x=middle, y=HEIGHT - 5, class_="across"))
    return element("g", *lines, class_="grid", aria_hidden="true")


def _tick(value: float, axis: Axis) -> str:
    """Format a tick with as many digits as the step between ticks needs."""
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else abs(value)
    digits = next((n for n in range(9) if abs(round(step, n) - step) < 1e-6 * step), 9)
    return number(value, digits)


def _codec(
    systems: list[SystemSummary], metric: Metric, style: Style, across: Axis, up: Axis
) -> Markup:
    line, points = [], []
    for system in systems:
        found = system.scores[metric.name].interval
        if found is None:
            continue
        x, y = across(system.kbps), up(found.mean)
        line.append(f"{x},{y}")
        points.append(
            element(
                "g",
                element("title", _point(system, metric)),
                element("line", x1=x, x2=x, y1=up(found.low), y2=up(found.high), class_="bar"),
                element("path", d=style.marker, transform=f"translate({x} {y})", class_="marker"),
            )
        )
    return element(
        "g",
        element("polyline", points=" ".join(line)) if len(line) > 1 else None,
        *points,
        class_=f"codec {style.class_}",
        data_codec=systems[0].codec,
    )


def _point(system: SystemSummary, metric: Metric) -> str:
    found = system.scores[metric.name].interval
    assert found is not None
    mean, low, high = (number(value, metric.digits) for value in found)
    unit = f" {metric.unit}" if metric.unit else ""
    ends = f" ({low} to {high})" if found.known else ""
    return f"{system.title}: {mean}{unit}{ends} at {rate(system.kbps)} kbit/s"


def _description(metric: Metric, systems: Sequence[SystemSummary]) -> str:
    points = "; ".join(_point(system, metric) for system in systems)
    return f"{metric.label}, {metric.better} is better, mean and 95 % interval. {points}."


def _swatch(style: Style) -> Markup:
    return element(
        "svg",
        element(
            "g",
            element("polyline", points="0,8 28,8"),
            element("path", d=style.marker, transform="translate(14 8)", class_="marker"),
            class_=f"codec {style.class_}",
        ),
        viewBox="0 0 28 16",
        width=28,
        height=16,
        aria_hidden="true",
    )
