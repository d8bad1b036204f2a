"""The figures of the papers: their file names models that exist, and one form of a table."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from chirrup.lab import papers
from chirrup.lab.models import CONFIGS
from chirrup.lab.papers import PAPERS, Paper, Scores, read_papers

SCORES = 'system = "a"\nkbps = [1, 6]\non = "clean"\nsource = "table 4"\n'
TABLE = 'source = "a paper"\nbitrates_bps = [1000]\n'


def test_every_table_is_of_a_model_and_has_its_source() -> None:
    assert set(PAPERS) <= set(CONFIGS)
    for paper in PAPERS.values():
        assert "arXiv" in paper.source or "poster" in paper.source


def unlike(stated: Any, found: Any) -> list[Any]:
    """Return the stated values that a configuration does not have."""
    if isinstance(stated, Mapping):
        return [x for key, value in stated.items() for x in unlike(value, found[key])]
    if isinstance(stated, list) and len(stated) == len(found):
        return [x for pair in zip(stated, found) for x in unlike(*pair)]
    return [] if stated == found else [stated]


@pytest.mark.parametrize("model", PAPERS)
def test_a_configuration_has_the_papers_sizes(model: str) -> None:
    stated, config = PAPERS[model].configuration, asdict(CONFIGS[model][1])
    assert stated or model == "spectro-small"
    assert unlike(stated, config) == []
    for key, value in config.items():
        if key in stated:
            assert unlike(stated, config | {key: 7777 if isinstance(value, int) else [7777]}), key


def test_scores_belong_to_their_own_model() -> None:
    first, second = read_papers(
        f'[a]\n{TABLE}[[a.scores]]\n{SCORES}pesq_wb = [1.5, 3]\n[b]\nlike = "a"\n'
    ).values()
    (scores,) = first.scores
    assert scores == Scores("a", (1, 6), "clean", "table 4", {"pesq_wb": (1.5, 3)})
    assert second.scores == ()


def test_a_table_may_take_figures_of_another() -> None:
    first, second = read_papers(
        f'[a]\n{TABLE}latency_ms = 30\n[b]\nlike = "a"\nmflops = {{ encoder = 2.5 }}\n'
    ).values()
    assert first == Paper("a paper", (1000,), latency_ms=30)
    assert second == Paper("a paper", (1000,), mflops={"encoder": 2.5}, latency_ms=30)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[a]\nbitrates_bps = [1000]", TypeError),
        (f"[a]\n{TABLE}gflops = 3", TypeError),
        (f'[a]\nlike = "b"\n{TABLE}', KeyError),
        ("a", ValueError),
        (f"[a]\n{TABLE}[[a.scores]]\n{SCORES}pesq_wb = [1.5]", ValueError),
        (f"[a]\n{TABLE}[[a.scores]]\n{SCORES}", ValueError),
        (f"[a]\n{TABLE}[[a.scores]]\nkbps = [1]\npesq_wb = [1.5]", KeyError),
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
