"""The page on the licences of the training data."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmark_scripts import scripts  # noqa: F401
from chirrup.data.manifest import Entry
from chirrup.zoo import models

PAGE = (Path(__file__).parents[1] / "docs" / "explanation" / "licences.md").read_text()


def script() -> Any:
    return import_module("licences")


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("GPL-2+", "copyleft"),
        ("FDL (GCompris-voices LICENSE)", "copyleft"),
        ("CC-BY-3.0 / CC-BY-SA-3.0 / GPL (per track in Debian copyright)", "copyleft"),
        ("Attribution Share Alike Creative Commons license", "copyleft"),
        ("http://creativecommons.org/licenses/by-sa/3.0/", "copyleft"),
        ("Attribution Creative Commons license", "attribution"),
        ("CC BY", "attribution"),
        ("MIT/Expat", "attribution"),
        ("CC0-1.0", "none"),
        ("none (generated here)", "none"),
    ],
)
def test_the_strictest_kind_of_a_licence(licence: str, kind: str) -> None:
    assert script().kind_of(licence) == kind


def test_an_unknown_licence_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kind is known for the licence 'All rights reserved'"):
        script().kind_of("All rights reserved")


def test_the_tables_of_a_small_corpus() -> None:
    def entry(path: str, licence: str, author: str) -> Entry:
        facts = {"source": "disc", "licence": licence, "attribution": author, "seconds": "60"}
        return Entry(path, Path(), facts=facts)

    entries = [
        entry("speech_train/a.wav", "GPL-2", 'Ann http://a "a long description'),
        entry("speech_train/ljspeech__1.wav", "CC0-1.0", "Jonas JakÅtys"),
        entry("speech_test/b.wav", "MIT", "Nobody"),
        entry("music_train/c.wav", "CC-BY-3.0", ""),
    ]
    text = script().filled(PAGE, entries)
    assert "| `iris-t1` | `speech_train` | 2 | 1.0 | 0.0 | 1.0 |" in text
    assert "| `focal-small` | `speech_train` | 1 | 1.0 | 0.0 | 0.0 |" in text  # leave_out
    assert "| `tq-small` | `music_train` | 1 | 0.0 | 1.0 | 0.0 |" in text
    assert "| `tq-small` | `noise_train`" not in text  # only clean clips
    assert "| `speech_train` | 1.0 | 2.0 | `CC0-1.0` |" in text
    assert "- disc: Ann http://a; Jonas Jakštys\n" in text
    assert "Nobody" not in text


def test_the_page_has_every_shipped_model() -> None:
    assert [name for name in models() if f"| `{name}` |" not in PAGE] == []
