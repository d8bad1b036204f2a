"""The pictures of the documentation."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

import chirrup
from benchmark_scripts import scripts  # noqa: F401
from chirrup.evaluate.results import Results

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = import_module("pictures")
    monkeypatch.setattr(found, "PLOTS", tmp_path)
    return found


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (DOCS / "plots").iterdir()}
    assert {name for name, size in sizes.items() if size >= 100_000} == set()


def test_quality_has_every_codec_with_its_interval(pictures: ModuleType) -> None:
    results = Results.read(DOCS / "reference" / "scoreboard" / "speech_test.jsonl")
    text = pictures.quality(results).read_text()
    labels = {row.label for row in results.rows if row.codec in pictures.CODECS}
    assert {label for label in labels if f">{label}<" not in text} == set()
    intervals = text.count('id="LineCollection_')  # one for each curve, and one in the legend
    assert intervals == len(pictures.CODECS) * (len(pictures.QUALITIES) + 1)
    assert text == pictures.quality(results).read_text()


def test_losses_are_relative_and_scores_are_not(pictures: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    losses = [{"step": s, "mel": 2 / s, "complex": 0.3, "pesq": 3.0} for s in range(1, 500)]
    scores = [
        {"step": s, "pesq_bypass": 2.0, "pesq_all": 1.5, "pesq_lowest": 1.25} for s in (250, 499)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in [*losses, *scores]))
    text = pictures.training(log).read_text()
    assert all(f">{word}<" in text for word in ("mel", "all codebooks", "steps, thousands"))
    assert len(text) < 50_000


def test_spectrograms_show_the_band_of_the_clip(
    pictures: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "HEARD", (("iris-t1", 1000),) * 3)
    path = pictures.spectrograms(Path(chirrup.__file__).parent / "clips" / "joe.flac")
    with Image.open(path) as picture:
        assert picture.size == (960, 460)
        corner = picture.convert("RGBA").getpixel((2, 2))
        assert isinstance(corner, tuple)
        assert corner[3] == 0  # transparent
