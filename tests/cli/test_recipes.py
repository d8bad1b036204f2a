"""Recipes are found by name, and contain no path of one machine."""

from pathlib import Path

import pytest

from chirrup.cli import run
from chirrup.cli.recipes import FOLDERS, find_recipe
from chirrup.errors import UsageError
from chirrup.lab.training.config import TrainingConfig

RECIPES = sorted(path for folder in FOLDERS for path in folder.rglob("*.toml"))


def test_by_name_or_file(tmp_path: Path) -> None:
    assert find_recipe("iris-t1-cpu").name == "iris-t1-cpu.toml"
    assert find_recipe("curated", "corpora").parent.name == "corpora"
    own = tmp_path / "own.toml"
    own.touch()
    assert find_recipe(str(own)) == own
    with pytest.raises(UsageError, match=r"no recipe 'iris-t9': give a file, or one of .*iris-t1"):
        find_recipe("iris-t9")
    with pytest.raises(UsageError, match="one of as-is, curated"):
        find_recipe("iris-t1", "corpora")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_no_recipe_reads_a_corpus_of_its_own_accord(path: Path) -> None:
    settings = [line.partition("#")[0] for line in path.read_text().splitlines()]
    assert not [line for line in settings if ".." in line or line.count("/") > 2]


@pytest.mark.parametrize("name", ["2024-11-30", "1e3", 'the "new" ö\\n'])
def test_a_corpus_may_have_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path | None] = []

    def train(config: TrainingConfig, out: Path, **_: object) -> int:
        given.append(config.data.manifest)
        return config.steps

    monkeypatch.setattr("chirrup.lab.training.run.train", train)
    assert run(["train", "iris-t1-cpu", "--out", str(tmp_path / "run"), "--data", name]) == 0
    assert given == [Path(name)]


def test_without_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "iris-t1-cpu", "--out", str(tmp_path / "run")]) == 2
    assert "no corpus is named: make one with chirrup data prepare" in capsys.readouterr().err
