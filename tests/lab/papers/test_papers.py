"""The figures of the papers: their file names models that exist, and one form of a table."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from chirrup.lab import papers
from chirrup.lab.models import CONFIGS
from chirrup.lab.papers import PAPERS, Paper, read_papers

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "papers").glob("*.md"))
TABLE = 'source = "a paper"\nbitrates_bps = [1000]\n'


def test_every_table_is_of_a_model_and_has_its_source() -> None:
    assert set(PAPERS) <= set(CONFIGS)
    for paper in PAPERS.values():
        assert "arXiv" in paper.source or "poster" in paper.source


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_training_tables_of_the_pages_are_current(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python benchmarks/paper_pages.py` writes them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    text = page.read_text()
    assert import_module("paper_pages").filled(text) == text


def test_every_training_has_its_table_on_a_page() -> None:
    marks = re.findall(r"<!-- training (\S+) -->", "".join(page.read_text() for page in PAGES))
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.toml")}
    assert sorted(marks) == sorted(recipes & set(PAPERS))


@pytest.mark.parametrize("model", PAPERS)
def test_the_pages_of_the_papers_have_the_figures(model: str) -> None:
    """As MFLOPS, or as billions of multiply-accumulates a second."""
    pages = "".join(page.read_text().replace(",", "") for page in PAGES)
    for part, mflops in PAPERS[model].mflops.items():
        if part in ("encoder", "quantizer", "decoder"):
            forms = (f"{mflops}", f"{mflops:.0f}", f"{mflops / 2000:g}")
            assert any(f"| {form} " in pages for form in forms), (part, mflops)


def test_a_table_may_take_figures_of_another() -> None:
    first, second = read_papers(
        f'[a]\n{TABLE}latency_ms = 30\n[b]\nlike = "a"\nmflops = {{ encoder = 2.5 }}\n'
    ).values()
    assert first == Paper("a paper", (1000,), latency_ms=30)
    assert second == Paper("a paper", (1000,), {"encoder": 2.5}, latency_ms=30)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[a]\nbitrates_bps = [1000]", TypeError),
        (f"[a]\n{TABLE}gflops = 3", TypeError),
        (f'[a]\nlike = "b"\n{TABLE}', KeyError),
        ("a", ValueError),
    ],
)
def test_a_wrong_table_is_an_error(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_papers(text)


def test_no_code_of_an_audit_names_a_model() -> None:
    folder = Path(papers.__file__).parents[1]
    for path in [*(folder / "audit").glob("*.py"), *(folder / "papers").glob("*.py")]:
        text = path.read_text()
        assert [name for name in CONFIGS if f'"{name}"' in text] == [], path
