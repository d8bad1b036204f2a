"""The log of a training and its progress bar."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from chirrup.lab.training.logger import FIGURES_EVERY, TrainingLogger


def test_figures_are_not_cut_off(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ("adversarial", "feature_matching", "complex", "mel", "learning_rate", "commitment")
    with TrainingLogger(tmp_path, 1000, 0, quiet=False) as logbook:
        logbook.figures(FIGURES_EVERY, 0.5, dict.fromkeys(names, 0.31725))
        screen = Console(file=io.StringIO(), width=80)
        screen.print(*logbook.progress.get_renderables())
    assert capfd.readouterr() == ("", "")  # a bar on a terminal only
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert "20/1000" in shown
    assert " ".join(f"{name} 0.317" for name in names) in " ".join(shown.split())
