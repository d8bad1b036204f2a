"""The report of a corpus: its tables, correct counts, and no references to other files."""

import re
from pathlib import Path

import numpy as np
import pytest

from chirrup.data import plots
from chirrup.data.prepare import prepare
from chirrup.data.recipe import recipe_of
from data_samples import here, noise, talk, write
from evaluate.test_report import Node, Page

pytest.importorskip("pyloudnorm")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A corpus of four talks of 3 s, one of them noisy, and three noises of 2 s."""
    root = tmp_path_factory.mktemp("report")
    for number in range(4):
        loud = 0.3 if number == 3 else 3e-4
        write(root / "talks" / f"{number}.wav", talk(3, seed=number) + loud * noise(3, seed=number))
    for number, category in enumerate(("rain", "rain", "<door>")):
        write(root / "noises" / category / f"{number}.wav", noise(2, seed=number))
    (root / "bad").mkdir()
    (root / "talks" / "text.wav").write_text("no audio")
    recipe = recipe_of(
        {
            "filters": {"read": {"keep_share": 1, "min": {"snr_db": 20}, "max": {}}},
            "splits": {"test": 0, "validation": 0},
        }
    )
    sources = [f"speech:{root}/talks", f"noise:{root}/noises"]
    prepare(sources, root / "out", recipe, here, facts={"licence": "CC0-1.0"})
    return Page(root / "out" / "report.html")


def table(page: Page, caption: str) -> list[list[str]]:
    found = [t for t in page.root.all("table") if t.all("caption")[0].text == caption]
    (one,) = found
    rows = one.all("tbody")[0].all("tr") + [r for foot in one.all("tfoot") for r in foot.all("tr")]
    return [[cell.text for cell in row.children if isinstance(cell, Node)] for row in rows]


def test_table_1(page: Page) -> None:
    row = ["talks", "0.00", "0.00", "75.00%", "3 of 4", "3 of 4"]
    assert table(page, "Curation of speech by source") == [row, ["Total", *row[1:]]]


def test_refusals_and_splits(page: Page) -> None:
    assert sorted(table(page, "Refusals by reason")) == [["snr_db", "1"], ["unreadable", "1"]]
    assert table(page, "Splits of speech") == [["train", "0.00", "3", "3"]]
    assert table(page, "Licences") == [["CC0-1.0", "0.00", "6"]]


def test_plots_are_pictures_with_words(page: Page) -> None:
    told = [image.attributes["alt"] for image in page.root.all("img")]
    assert "Noise by category, minutes: rain 0.1; <door> 0.0" in told
    assert "Signal-to-noise ratio, dB: 3 kept, 1 refused (grey)" in told
    sources = [image.attributes["src"] for image in page.root.all("img")]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)


def test_nothing_comes_from_outside(page: Page) -> None:
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.source)
    assert "default-src 'none'" in page.source


def test_a_plot_is_the_same_each_time(tmp_path: Path) -> None:
    edges = np.linspace(0, 1, 5)
    pictures = {plots.histogram("x", edges, np.arange(4), np.ones(4)) for _ in range(2)}
    assert len(pictures) == 1
