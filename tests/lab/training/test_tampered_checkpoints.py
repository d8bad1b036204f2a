"""A tampered checkpoint is loaded, or the ModelError states what is wrong with it."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import small_lrac
from chirrup.errors import ModelError
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.checkpoints import load_checkpoint, pack_checkpoint, trained_model
from chirrup.lab.training.loop import Trainer
from tiny_training import LRAC_WAY, tiny_config, with_adversary

Saved = dict[str, Any]


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Return a training without steps, which needs no corpus."""
    monkeypatch.setitem(CONFIGS, small_lrac.NAME, small_lrac.ENTRY)
    changes = with_adversary() | LRAC_WAY
    return Trainer(tiny_config(tmp_path, **changes), tmp_path, torch.device("cpu"))


@pytest.fixture
def path(trainer: Trainer) -> Path:
    trainer.save()
    return trainer.folder / "checkpoint.pt"


def changed(path: Path, change: Callable[[Saved], object]) -> None:
    saved = torch.load(path, weights_only=True)
    change(saved)
    torch.save(saved, path)


def model_changes(**values: object) -> Callable[[Saved], object]:
    return lambda saved: saved["config"].update(model_changes=values)


def endless(saved: Saved) -> None:
    saved["usage"] = [saved]


def expanded(saved: Saved) -> None:
    saved["usage"]["extra"] = torch.zeros(1).expand(10**12)


def not_finite(saved: Saved) -> None:
    next(iter(saved["ema"].values())).flatten()[0] = torch.nan


MODEL: dict[str, tuple[Callable[[Saved], object], str]] = {
    "more codebooks than anybody has": (
        model_changes(codebooks=10**7),
        "a number beyond 1000000: 1",
    ),
    "more codebooks than weights": (model_changes(codebooks=10**5), "more than .* layers"),
    "wider than its weights": (model_changes(latent_dim=10**5), "of other shapes"),
    "an impossible width": (model_changes(code_dim=-1), "small-lrac: code_dim is -1: give numbers"),
    "no such field": (model_changes(nothing=1), "small-lrac has no .nothing.: use encoder"),
    "a setting of another type": (
        lambda saved: saved["config"].update(batch_size="x"),
        "configuration: batch_size is .x.: input should be",
    ),
    "no configuration": (lambda saved: saved.update(config=None), "configuration"),
    "negative steps": (lambda saved: saved.update(step=-1), "step is -1"),
    "hours in words": (lambda saved: saved.update(hours="many"), "hours is 'many'"),
    "no weights": (lambda saved: saved.update(ema=[1]), "not a checkpoint"),
    "weights that are not finite": (not_finite, "ema is not finite in"),
    "a tensor larger than its storage": (expanded, "has no plain content"),
    "a list within itself": (endless, "more than 1000000 items"),
}


@pytest.mark.parametrize("name", MODEL)
def test_a_model_from_a_tampered_checkpoint_is_refused(path: Path, name: str) -> None:
    change, words = MODEL[name]
    changed(path, change)
    with pytest.raises(ModelError, match=words) as caught:
        trained_model(load_checkpoint(path))
    assert "\n" not in str(caught.value)


def test_a_compressed_checkpoint_is_refused(path: Path) -> None:
    """A compressed megabyte could expand to a gigabyte."""
    packed = path.with_name("packed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.namelist():
            new.writestr(record, old.read(record))
    with pytest.raises(ModelError, match=r"not a checkpoint .* its records are compressed"):
        load_checkpoint(packed)


@pytest.mark.parametrize(
    "key",
    ["optimiser", "usage", "adversary", "adversary_optimiser", "codebooks_started", "model", "ema"],
)
def test_a_training_that_lacks_something_cannot_go_on(
    trainer: Trainer, path: Path, tmp_path: Path, key: str
) -> None:
    shutil.copy(path, tmp_path / "whole.pt")
    changed(path, lambda saved: saved.pop(key))
    if key == "ema":  # as in a packed one
        trainer.restore(path)
        return
    with pytest.raises(ModelError, match=f"checkpoint.pt cannot be resumed: it has no '{key}'"):
        trainer.restore(path)
    if key not in ("usage", "codebooks_started"):
        with pytest.raises(ModelError, match=f"has no {key}: a training cannot go on from it"):
            pack_checkpoint(path, tmp_path / "packed.pt")
    trainer.restore(tmp_path / "whole.pt")


def test_moments_of_other_shapes_are_refused(trainer: Trainer, path: Path) -> None:
    """The optimiser would fail only in its next step."""
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    changed(path, lambda saved: saved["optimiser"]["state"].update({0: moments}))
    with pytest.raises(ModelError, match="moments of other shapes"):
        trainer.restore(path)
