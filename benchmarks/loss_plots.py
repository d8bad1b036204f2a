"""Plots of scores against lost packets and wrong bits, a file an effect of the network."""

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.results import Results, Row
from chirrup.evaluate.statistics import Interval
from chirrup.evaluate.tables import lines

EFFECTS = {
    "loss": "packets lost independently, %",
    "bursts": "packets lost in bursts of 3 on average, %",
    "bit-errors": "wrong bits, %",
}
"""Effects of the network, and the label of their axis."""
GROUPS_KBPS = {
    "about 1 kbit/s": (0.0, 2.0),
    "about 3 kbit/s": (2.0, 4.5),
    "about 6 kbit/s": (4.5, 7.5),
    "9 kbit/s and more": (7.5, 1e9),
}
"""Systems of about the same total bitrate share a column."""
OURS = ("#08306b", "#1f77b4", "#41b6c4", "#8c6bb1", "#c51b8a")
OTHERS = ("#d94801", "#238b45", "#a50f15")
MARKERS = "osD^vP"

Curve = dict[float, Interval]
"""Mean and interval by share of lost packets or wrong bits, in per cent."""


def share(condition: str, effect: str) -> float | None:
    """Return the share in per cent of a condition with one effect; None if it has another one."""
    if condition == "clean":
        return 0.0
    values = condition.removeprefix(f"{effect}-")
    return None if values == condition else float(values.partition("-")[0])


def curves(rows: Sequence[Row], effect: str, metric: str) -> dict[str, dict[str, Curve]]:
    """Return the curve of each system, by group of `GROUPS_KBPS` and by title.

    A system without a score under the effect is left out.
    """
    by_share: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        at = share(row.condition, effect)
        if at is not None and metric in row.scores:
            by_share[at].append(row)
    found: dict[str, dict[str, Curve]] = {name: {} for name in GROUPS_KBPS}
    for at, part in sorted(by_share.items()):
        for line in lines(part, [metric]):
            value = line.cells[metric]
            if value is not None:
                group = next(n for n, (low, high) in GROUPS_KBPS.items() if low <= line.kbps < high)
                found[group].setdefault(line.title, {})[at] = value
    return {
        group: {title: curve for title, curve in by_title.items() if len(curve) > 1}
        for group, by_title in found.items()
        if any(len(curve) > 1 for curve in by_title.values())
    }


def draw(results: Results, metrics: Sequence[str], folder: Path) -> list[Path]:
    """Draw the plots of the effects that the results have, as PNG.

    Returns:
        The files.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ours = {row.title for row in results.rows if row.ours}
    paths = []
    for effect, label in EFFECTS.items():
        by_metric = {name: curves(results.rows, effect, name) for name in metrics}
        by_metric = {name: groups for name, groups in by_metric.items() if groups}
        columns = [g for g in GROUPS_KBPS if any(g in groups for groups in by_metric.values())]
        if not columns:
            continue
        figure, axes = pyplot.subplots(
            len(by_metric),
            len(columns),
            figsize=(3.1 * len(columns) + 0.4, 2.2 * len(by_metric) + 1.3),
            squeeze=False,
            sharex=True,
            sharey="row",
        )
        for row, (name, groups) in zip(axes, by_metric.items(), strict=True):
            metric = METRICS[name]
            row[0].set_ylabel(f"{metric.label}{', ' + metric.unit if metric.unit else ''}")
            for axis, group in zip(row, columns, strict=True):
                shown = {t for other in by_metric.values() for t in other.get(group, {})}
                _curves(axis, groups.get(group, {}), _styles(shown, ours))
        for axis, group in zip(axes[0], columns, strict=True):
            axis.set_title(group, fontsize=10)
        for axis in axes[-1]:
            axis.set_xlabel(label, fontsize=8)
        figure.tight_layout(rect=(0, 1.15 / figure.get_figheight(), 1, 1))
        for axis in axes[-1]:
            titles: dict[str, Any] = {}
            column = axes[:, list(axes[-1]).index(axis)]
            for one in column:
                handles, labels = one.get_legend_handles_labels()
                titles |= dict(zip(labels, handles, strict=True))
            box = axis.get_position()
            figure.legend(
                titles.values(),
                titles,
                loc="upper left",
                bbox_to_anchor=(box.x0 - 0.01, 1.1 / figure.get_figheight()),
                fontsize=7.5,
                frameon=False,
            )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"against-{effect}.png"
        _save(figure, path)
        pyplot.close(figure)
        paths.append(path)
    return paths


def _save(figure: Any, path: Path) -> None:
    """Write a PNG of 64 colours, which is a third as large as one of all colours."""
    from PIL import Image

    picture = io.BytesIO()
    figure.savefig(picture, dpi=90, format="png")
    Image.open(picture).convert("RGB").quantize(64).save(path, optimize=True)


def _styles(titles: Iterable[str], ours: set[str]) -> dict[str, dict[str, str]]:
    """Return the look of each system, which is the same for all metrics."""
    count = {True: 0, False: 0}
    found = {}
    for title in sorted(titles):
        mine = title in ours
        colours, number = OURS if mine else OTHERS, count[mine]
        count[mine] += 1
        found[title] = {
            "color": colours[number % len(colours)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": "-" if mine else "--",
        }
    return found


def _curves(axis: Any, found: dict[str, Curve], styles: dict[str, dict[str, str]]) -> None:
    for title, curve in sorted(found.items()):
        axis.errorbar(
            list(curve),
            [value.mean for value in curve.values()],
            yerr=[
                [value.mean - value.low for value in curve.values()],
                [value.high - value.mean for value in curve.values()],
            ],
            markersize=4,
            linewidth=1.4,
            elinewidth=0.6,
            label=title,
            **styles[title],
        )
    if not found:
        axis.set_title("not measured", y=0.5, fontsize=9, color="0.5")
    axis.grid(color="0.9", linewidth=0.6)
    axis.tick_params(labelsize=8)
