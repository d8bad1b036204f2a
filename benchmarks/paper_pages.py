"""Write the tables of training figures into the pages of the papers."""

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from chirrup.lab.papers import PAPERS, Figures

PAGES = Path(__file__).parents[1] / "docs" / "papers"
HEAD = "| figures of the recipe | paper | source | reason |\n|---|---|---|---|\n"


def training_table(groups: tuple[Figures, ...]) -> str:
    """Return a row for each group of figures that share a source or a reason, the paper's first."""
    rows = []
    for group in sorted(groups, key=lambda group: group.source is None):
        paper = group.states or written({k: v for k, v in group.paper.items() if k in group.recipe})
        if not group.recipe and not group.states:
            paper = "equal"
        cells = written(group.expected), paper, group.source, group.reason
        rows.append("|" + "".join(f" {cell or '-'} |" for cell in cells) + "\n")
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


def filled(text: str) -> str:
    """Return the text of a page with a current table between its marks.

    The marks are ``<!-- training MODEL -->`` and ``<!-- end of training -->``.
    """

    def table(mark: re.Match[str]) -> str:
        groups = PAPERS[mark[1]].training
        return f"<!-- training {mark[1]} -->\n{training_table(groups)}<!-- end of training -->"

    marked = r"<!-- training (\S+) -->.*?<!-- end of training -->"
    return re.sub(marked, table, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(filled(page.read_text()))
