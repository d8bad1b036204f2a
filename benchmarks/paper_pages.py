"""Write the papers' figures into the pages of the papers, the model cards and the scoreboard."""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from chirrup.evaluate.metrics import METRICS
from chirrup.lab.papers import PAPERS, Figures, Scores

ROOT = Path(__file__).parents[1]
SCOREBOARD = ROOT / "docs" / "reference" / "scoreboard.md"
PAGES = [
    *sorted((ROOT / "docs" / "papers").glob("*.md")),
    *sorted((ROOT / "src" / "chirrup" / "zoo").glob("*/README.md")),
]
"""Pages with marks, such as ``<!-- training MODEL -->`` and ``<!-- end of training -->``."""
HEAD = "| figures of the recipe | paper | source | reason |\n|---|---|---|---|\n"
REPORTED = """\
## Scores that papers report

Measured by the papers' authors on other clips. Do not compare them with the tables above to the
second digit.

"""


def training_table(groups: tuple[Figures, ...]) -> str:
    """Return a row for each group of figures that share a source or a reason, the paper's first."""
    rows = []
    for group in sorted(groups, key=lambda group: group.source is None):
        paper = group.states or written({k: v for k, v in group.paper.items() if k in group.recipe})
        if not group.recipe and not group.states:
            paper = "equal"
        cells = written(group.expected), paper, group.source, group.reason
        rows.append(row(cell or "-" for cell in cells))
    return HEAD + "".join(rows)


def written(figures: Mapping[str, Any]) -> str:
    """Write figures by their tables, such as "`codes`: bypass 0.5, drop 0.5"."""
    named = [(*f".{key}".rpartition(".")[::2], value) for key, value in figures.items()]
    parts = []
    for table, members in groupby(named, lambda member: member[0]):
        values = ", ".join(f"{name} {formatted(value)}" for _, name, value in members)
        parts.append(f"`{table[1:]}`: {values}" if table else values)
    return "; ".join(parts)


def formatted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(formatted, value))}]"
    if isinstance(value, int | float):
        return f"{value:,}" if value >= 10_000 else f"{value:g}"
    return str(value)


def scores_table(scores: Iterable[Scores]) -> str:
    """Return a row for each system and bitrate, with a column for each metric."""
    every = list(scores)
    columns: dict[str, list[float]] = {}
    for one in every:
        for name, values in one.metrics.items():
            columns.setdefault(name, []).extend(values)
    digits = {name: max(map(digits_of, values)) for name, values in columns.items()}
    labels = [
        METRICS[name].label + (f", {METRICS[name].unit}" if METRICS[name].unit else "")
        for name in columns
    ]
    heads = ["system", "kbit/s", *labels, "on", "source"]
    rows = [row(heads), "|" + "---|" * len(heads) + "\n"]
    for one in every:
        for place, kbps in enumerate(one.kbps):
            values = {name: values[place] for name, values in one.metrics.items()}
            cells = [f"{values[x]:.{digits[x]}f}" if x in values else "-" for x in columns]
            rows.append(row([one.system, f"{kbps:g}", *cells, one.on, one.source]))
    return "".join(rows)


def digits_of(score: float) -> int:
    """Return the number of digits after the point."""
    return len(repr(float(score)).partition(".")[2])


def row(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" for cell in cells) + "\n"


def reported() -> str:
    """Return the section of the scoreboard on the scores of papers, a table for each paper."""
    papers = [paper for paper in PAPERS.values() if paper.scores]
    tables = groupby(papers, lambda paper: paper.source.split(",")[0])
    return REPORTED + "\n".join(
        scores_table(one for paper in of_source for one in paper.scores) for _, of_source in tables
    )


def filled(text: str) -> str:
    """Return the text of a page with current tables between its marks."""

    def table(mark: re.Match[str]) -> str:
        kind, model = mark[1], mark[2]
        paper = PAPERS[model]
        inner = training_table(paper.training) if kind == "training" else scores_table(paper.scores)
        return f"<!-- {kind} {model} -->\n{inner}<!-- end of {kind} -->"

    marked = r"<!-- (training|paper scores) (\S+) -->.*?<!-- end of \1 -->"
    return re.sub(marked, table, text, flags=re.DOTALL)


def scoreboard_filled(text: str) -> str:
    """Return the text of the scoreboard with the current scores of papers, its last section."""
    return text.partition(REPORTED.splitlines()[0])[0] + reported()


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
    SCOREBOARD.write_text(scoreboard_filled(SCOREBOARD.read_text()))
