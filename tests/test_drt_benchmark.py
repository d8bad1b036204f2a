"""``benchmarks/drt.py``: the recordings, the trials and the scores."""

import subprocess
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmark_scripts import scripts  # noqa: F401
from chirrup.errors import FileError
from chirrup.evaluate.listening_tests.words import PAIRS
from listening_samples import evaluated

WORDS = [word for pair in PAIRS[::8] for word in pair.words]


@pytest.fixture
def drt() -> ModuleType:
    return import_module("drt")


def test_a_trial_needs_both_recordings(
    drt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recognised: ``good`` always, ``bad`` never. Each ratio alone favours the first word."""
    results = evaluated(tmp_path, [*(f"ann__{word}" for word in WORDS), "bob__veal", "noise"])
    heard: dict[tuple[str, str], float] = {}

    def log_ratio(audio: np.ndarray, words: tuple[str, str]) -> float:
        assert audio.ndim == 1
        return heard[current["clip"], current["system"]]

    current: dict[str, str] = {}

    def read_clip(path: Path, rate_hz: int, mono: bool) -> tuple[np.ndarray, int]:
        current.update(clip=path.parent.name, system=path.stem)
        return np.zeros((1, 100), np.float32), rate_hz

    for pair in PAIRS:
        for number, word in enumerate(pair.words):
            for system, sign in (("reference", 1), ("good-6000", 1), ("bad-1000", -1)):
                heard[f"ann__{word}", system] = 5 - sign * number
    monkeypatch.setattr(drt, "log_ratio", log_ratio)
    monkeypatch.setattr(drt, "read_clip", read_clip)
    printed: list[Any] = []
    monkeypatch.setattr(drt.console, "print", lambda *shown: printed.extend(shown))
    drt.score(results)
    (table,) = printed
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["uncoded", "Good 6k", "Bad 1k"]
    assert cells[1] == ["100 (100 to 100)"] * 2 + ["-100 (-100 to -100)"]
    for column in cells[2:]:
        assert column == ["100", "100", "-100"]


def test_results_without_pairs(drt: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no talker who says both words"):
        drt.score(evaluated(tmp_path, ["ann__veal"]))


def test_words_need_espeak(
    drt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drt.shutil, "which", lambda name: None)
    with pytest.raises(FileError, match="apt-get install espeak-ng"):
        drt.make_words(tmp_path, ["en-us"])
    said = []

    def run(command: list[str], check: bool) -> None:
        said.append(command[-1])
        Path(command[command.index("-w") + 1]).touch()

    monkeypatch.setattr(drt.shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(drt, "PAIRS", [pair for pair in PAIRS if "than" in pair.words])
    drt.make_words(tmp_path, ["en-us"])
    assert said == ["[[D'an]]", "dan"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["en-us__dan.wav", "en-us__than.wav"]
