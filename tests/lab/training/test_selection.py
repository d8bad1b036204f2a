"""Checkpoints are selected by several scores of the validation, also over interruptions."""

from pathlib import Path

import pytest
import torch

from chirrup.errors import ModelError, UsageError
from chirrup.lab.models import CONFIGS
from chirrup.lab.training import loop
from chirrup.lab.training.checkpoints import load_checkpoint
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.selection import Selection
from chirrup.lab.training.validation import Validation
from small_model import ENTRY, NAME, RATE_HZ
from tiny_training import advance, resumed, stopped, tiny_config

CPU = torch.device("cpu")
SCORES = ("log_mel_all", "pesq_lowest")
MEL = {1: 3.0, 2: 2.0, 3: 2.5, 4: 1.0, 5: 1.5, 6: 1.2}
PESQ = {1: 1.1, 2: 1.2, 3: 1.5, 4: 1.3, 5: 1.4, 6: 1.5}


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """Give each step the scores above; the PESQ of step 2 is missing, as of silence."""
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    running: list[Trainer] = []

    def validate(*_: object) -> Validation:
        step = running[-1].step
        figures = {"log_mel_all": MEL[step], "pesq_lowest": PESQ[step], "snr_db_all": float(step)}
        return Validation(RATE_HZ, {k: v for k, v in figures.items() if (step, k[0]) != (2, "p")})

    monkeypatch.setattr(loop, "validate", validate)
    return running


def selected(folder: Path) -> dict[str, int]:
    """Return the step of each selected checkpoint."""
    return {path.stem: load_checkpoint(path)["step"] for path in folder.glob("best-*.pt")}


def test_each_score_keeps_its_best_checkpoint(
    corpus: Path, tmp_path: Path, scripted: list[Trainer]
) -> None:
    """Of equal values the first one stays."""
    trainer = Trainer(tiny_config(corpus, select=SCORES, validate_every=1), tmp_path, CPU)
    scripted.append(trainer)
    trainer.run()
    assert selected(tmp_path) == {"best-log_mel_all": 4, "best-pesq_lowest": 3}
    best = Trainer(trainer.config, tmp_path, CPU)
    best.restore(tmp_path / "best-log_mel_all.pt")
    assert best.step == 4
    assert load_checkpoint(tmp_path)["best"] == {"log_mel_all": 1.0, "pesq_lowest": 1.5}


def test_a_resumed_run_knows_the_best_values(
    corpus: Path, tmp_path: Path, scripted: list[Trainer]
) -> None:
    config = tiny_config(corpus, select=SCORES, validate_every=1)
    scripted.append(Trainer(config, tmp_path, CPU))
    scripted[-1].selection.restore({"log_mel_all": 0.5, "pesq_lowest": 1.35, "snr_db_all": 9.0})
    scripted[-1].save()
    scripted.append(resumed(config, tmp_path))
    scripted[-1].run()
    assert selected(tmp_path) == {"best-pesq_lowest": 3}
    assert scripted[-1].selection.best == {"log_mel_all": 0.5, "pesq_lowest": 1.5}


def test_a_checkpoint_from_before_selection_resumes(
    corpus: Path, tmp_path: Path, scripted: list[Trainer]
) -> None:
    """It has neither best values nor the newer keys of a recipe."""
    stopped(tiny_config(corpus), tmp_path, 2)
    saved = torch.load(tmp_path / "checkpoint.pt")
    del saved["best"], saved["config"]["select"]
    del saved["config"]["adversary"]["clip_norm"]
    for key in ("keep_level", "epoch_recordings"):
        del saved["config"]["data"][key]
    torch.save(saved, tmp_path / "checkpoint.pt")
    scripted.append(resumed(tiny_config(corpus, select=SCORES, validate_every=2), tmp_path))
    scripted[-1].run()
    assert selected(tmp_path) == {"best-log_mel_all": 4, "best-pesq_lowest": 6}
    saved["best"] = {"pesq_lowest": "high"}
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="cannot be resumed"):
        resumed(tiny_config(corpus, select=SCORES), tmp_path)


def test_without_select_there_is_one_checkpoint(
    corpus: Path, tmp_path: Path, scripted: list[Trainer]
) -> None:
    scripted.append(Trainer(tiny_config(corpus, validate_every=1), tmp_path, CPU))
    scripted[-1].run()
    assert [path.name for path in tmp_path.glob("*.pt")] == ["checkpoint.pt"]


@pytest.mark.parametrize("name", ["pesq_al", "lsd_all", "input"])
def test_a_score_that_validation_lacks_is_refused(corpus: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"select is '{name}', which .*: use .*pesq_all"):
        Trainer(tiny_config(corpus, select=[name]), tmp_path, CPU)


def test_a_value_that_is_no_number_is_never_best() -> None:
    selection = Selection(["lsd_all"])
    selection.restore({"lsd_all": float("nan")})
    assert selection.improved({"lsd_all": 2.0}) == ["lsd_all"]
    assert selection.improved({"lsd_all": float("nan")}) == []
    assert selection.improved({"lsd_all": 1.0}) == ["lsd_all"]


def test_epochs_of_sliding_windows_resume_exactly(corpus: Path, tmp_path: Path) -> None:
    data = tiny_config(corpus).data.model_dump() | {"epoch_recordings": 2, "keep_level": True}
    config = tiny_config(corpus, data=data)
    whole = Trainer(config, tmp_path / "whole", CPU)
    figures = advance(whole, 6)
    stopped(config, tmp_path, 4)
    assert advance(resumed(config, tmp_path), 6) == figures[4:]
    random = Trainer(tiny_config(corpus), tmp_path / "random", CPU)
    assert advance(random, 1) != figures[:1]
