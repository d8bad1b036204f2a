"""The pages of the papers name code and tests that exist, and have the papers' figures."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from chirrup.evaluate.metrics import METRICS
from chirrup.lab.papers import PAPERS
from chirrup.zoo import models

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "papers").glob("*.md"))
CARDS = ROOT / "src" / "chirrup" / "zoo"
HEAD = re.compile(r"^\| the (?:paper|poster)'s statement.*\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
"""A table of statements; its columns are the statement, the code, the difference and the test."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def names_of(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """Return the names that a module or class defines, with those of its classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from names_of(child, f"{prefix}{child.name}.")
        if isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


@cache
def defined(file: str) -> frozenset[str]:
    """Return the names that a file of the repository or of the package defines."""
    path = ROOT / file if (ROOT / file).exists() else ROOT / "src" / "chirrup" / file
    return frozenset(names_of(ast.parse(path.read_text())))


@pages
def test_code_and_tests_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`([\w/.-]+\.py)::([\w.]+)`", page.read_text())
    assert len(named) > 15
    assert [(file, name) for file, name in named if name not in defined(file)] == []


@pages
def test_every_statement_has_its_code_its_difference_and_its_test(page: Path) -> None:
    tables = HEAD.findall(page.read_text())
    rows = [line for table in tables for line in table.splitlines()]
    assert len(rows) >= 15
    for line in rows:
        statement, _, here, test = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        assert len(statement) > 3, line
        assert len(here) > 3, line
        assert test == "-" or re.fullmatch(r"`tests/\S+::\w+`(, `tests/\S+::\w+`)*", test), line


def test_names_of_a_file() -> None:
    text = "A: int = 1\nclass B:\n    c: int\n    def d(self): pass\ndef e(): f = 1\n"
    assert set(names_of(ast.parse(text))) == {"A", "B", "B.c", "B.d", "e"}


def test_the_tables_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python benchmarks/paper_pages.py` writes them to pages, cards and the scoreboard."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    written = import_module("paper_pages")
    assert set(PAGES) < set(written.PAGES)
    texts = {page: page.read_text() for page in written.PAGES}
    assert [page for page, text in texts.items() if written.filled(text) != text] == []
    scoreboard = written.SCOREBOARD.read_text()
    assert written.scoreboard_filled(scoreboard) == scoreboard


def test_scores_are_of_metrics_and_have_the_papers_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    written = import_module("paper_pages")
    named = {name for paper in PAPERS.values() for one in paper.scores for name in one.metrics}
    assert named
    assert named <= set(METRICS)
    table = written.scores_table(PAPERS["tq-imbalanced"].scores)
    assert "| TQCodec | 64 | 0.7715 | 0.6470 | 0.9500 | the authors' music |" in table


def test_every_training_has_its_table_on_a_page() -> None:
    marks = re.findall(r"<!-- training (\S+) -->", "".join(page.read_text() for page in PAGES))
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.toml")}
    assert sorted(marks) == sorted(recipes & set(PAPERS))


@pytest.mark.parametrize("model", PAPERS)
def test_the_pages_have_the_figures(model: str) -> None:
    """As MFLOPS, or as billions of multiply-accumulates a second."""
    text = "".join(page.read_text().replace(",", "") for page in PAGES)
    for part, mflops in PAPERS[model].mflops.items():
        if part in ("encoder", "quantizer", "decoder"):
            forms = (f"{mflops}", f"{mflops:.0f}", f"{mflops / 2000:g}")
            assert any(f"| {form} " in text for form in forms), (part, mflops)


@pytest.mark.parametrize("model", models())
def test_a_card_links_to_the_page_of_its_paper(model: str) -> None:
    links = re.findall(r"docs/papers/([\w-]+)\.md", (CARDS / model / "README.md").read_text())
    assert len(set(links)) == 1
    assert f"zoo/{model}/README.md" in (ROOT / "docs" / "papers" / f"{links[0]}.md").read_text()
