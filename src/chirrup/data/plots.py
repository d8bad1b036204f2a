"""Plots of the report by matplotlib, as SVG pictures for light and dark pages."""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chirrup.evaluate.report.markup import Markup, data_uri, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT, REFUSED, INK = "#d9622b", "#8b909a", "#7b808a"
WIDTH_IN, HEIGHT_IN = 4.4, 3.0


def histogram(
    label: str, edges: np.ndarray, kept: np.ndarray | None, refused: np.ndarray | None = None
) -> Markup:
    """Plot counts between ``edges``, with refused recordings on top of kept recordings."""
    none = np.zeros(len(edges) - 1)
    below, above = (none if counts is None else counts for counts in (kept, refused))

    def draw(axes: "Axes") -> None:
        axes.bar(edges[:-1], below, np.diff(edges), align="edge", color=KEPT)
        if above.any():
            axes.bar(edges[:-1], above, np.diff(edges), below, align="edge", color=REFUSED)
        axes.set_xlim(edges[0], edges[-1])

    text = f"{label}: {int(below.sum())} kept, {int(above.sum())} refused (grey)"
    return _figure(label, text, draw, HEIGHT_IN)


def bars(label: str, values: Mapping[str, float]) -> Markup:
    """Plot one bar for each name, from top to bottom."""

    def draw(axes: "Axes") -> None:
        axes.barh(list(values)[::-1], list(values.values())[::-1], color=KEPT)
        axes.margins(y=0.01)

    text = "; ".join(f"{name} {value:.1f}" for name, value in values.items())
    return _figure(label, f"{label}: {text}", draw, max(1.2, 0.6 + 0.2 * len(values)))


def _figure(label: str, text: str, draw: Callable[["Axes"], object], height_in: float) -> Markup:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": "chirrup",
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    file = io.BytesIO()
    with rc_context(style):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    picture = element("img", src=data_uri("image/svg+xml", file.getvalue()), alt=text)
    return element("figure", element("figcaption", label), picture)
