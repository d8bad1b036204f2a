"""Errors of the benchmarks that start or change trainings."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmark_scripts import scripts  # noqa: F401


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    script = import_module(name)
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    import_module("shared").run(script.main)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("from_exported", ["lrac-t1", "lrac-t1-cpu-more"]),
        ("carry_over", ["old.pt", "iris-t1-cpu-more"]),
        ("mean_weights", ["old.pt", "new.pt"]),
    ],
)
def test_a_training_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    options: list[str],
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"weights")
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, name, *options, "--out", tmp_path)
    assert "has a checkpoint.pt already: choose another --out" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"weights"


def test_an_unknown_recipe_is_an_error_that_lists_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "from_exported", "lrac-t1", "lrac-t9", "--out", tmp_path / "run")
    assert "no recipe 'lrac-t9': give a file, or one of" in capsys.readouterr().err


def test_a_missing_checkpoint_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [tmp_path / "old.pt", tmp_path / "new.pt", "--out", tmp_path / "run"]
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "mean_weights", *options)
    assert capsys.readouterr().err == f"error: {tmp_path / 'new.pt'} does not exist\n"
