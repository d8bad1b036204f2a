"""A training resumed from a checkpoint equals an uninterrupted one."""

import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

import small_lrac
from chirrup.cli import run
from chirrup.errors import FileError, ModelError
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.checkpoints import load_checkpoint, pack_checkpoint
from chirrup.lab.training.config import TrainingConfig, load_recipe
from chirrup.lab.training.loop import Trainer
from small_model import ENTRY, NAME
from tiny_training import (
    LRAC_WAY,
    advance,
    differing,
    resumed,
    stopped,
    tiny_config,
    with_adversary,
)

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    monkeypatch.setitem(CONFIGS, small_lrac.NAME, small_lrac.ENTRY)


@pytest.mark.parametrize(
    "changes",
    [{}, with_adversary(every=2), LRAC_WAY],
    ids=["reconstruction", "adversary", "lrac"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    corpus: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Parameters, averages, optimisers and usage are bit-equal; the stop is in either stage."""
    config = tiny_config(corpus, **changes)
    whole = Trainer(config, tmp_path / "whole", CPU)
    advance(whole, 6)
    for stop in (1, 4):
        first = stopped(config, tmp_path / "parts", stop)
        torch.manual_seed(1234)  # the state of the world is not part of it
        second = resumed(config, tmp_path / "parts")
        assert second.step == stop
        assert differing(first.state(), second.state()) == []
        advance(second, 6)
        assert differing(whole.state(), second.state()) == []


def test_a_checkpoint_resumes_although_the_order_of_parts_changed(
    corpus: Path, tmp_path: Path
) -> None:
    """An optimiser numbers its parameters, but moments belong to the names."""
    config = tiny_config(corpus)
    first = Trainer(config, tmp_path, CPU)
    advance(first, 4)
    state = first.state()
    groups = first.groups
    order = sorted(state["model"], key=lambda name: not name.startswith("decoder"))
    assert order != list(state["model"])
    before = [[name for name in order if name in group] for group in groups]
    number = {name: index for index, name in enumerate(chain(*groups))}
    moments = state["optimiser"]["state"]
    swapped = {i: moments[number[name]] for i, name in enumerate(chain(*before))}
    model = {name: state["model"][name] for name in order}
    optimiser = state["optimiser"] | {"state": swapped}
    torch.save(state | {"model": model, "optimiser": optimiser}, tmp_path / "checkpoint.pt")
    second = resumed(config, tmp_path)
    assert differing(first.state(), second.state()) == []


def test_an_optimiser_of_other_parameters_is_refused(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    state = trainer.state()
    state["optimiser"]["param_groups"][0]["params"].pop()
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="has other parameters"):
        trainer.restore(tmp_path / "checkpoint.pt")


def test_the_flagships_training_can_go_on(tmp_path: Path) -> None:
    """The checkpoint in `recipes/` fits the current model and discriminators."""
    packed = ROOT / "recipes" / "iris-t1-cpu.pt"
    config = TrainingConfig.model_validate(load_checkpoint(packed)["config"])
    trainer = Trainer(config, tmp_path, CPU)
    trainer.restore(packed)
    assert trainer.config.model_changes == {"encoder_units": "plain"}
    before, *_ = load_recipe(ROOT / "recipes" / "iris-t1-cpu-more.toml").stages
    assert trainer.step == before.steps
    assert trainer.adversary.optimiser is not None
    for optimiser in (trainer.optimiser, trainer.adversary.optimiser):
        assert len(optimiser.state) > 100
        for parameter, state in optimiser.state.items():
            assert state["exp_avg"].shape == parameter.shape


def test_a_checkpoint_of_today_is_of_the_model_of_today(corpus: Path, tmp_path: Path) -> None:
    """Only checkpoints without a version get the fields of earlier models."""
    stopped(tiny_config(corpus), tmp_path, 1)
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path)["config"]["model_changes"] == {}
    saved = torch.load(path)
    del saved["version"]
    torch.save(saved, path)
    assert load_checkpoint(path)["config"]["model_changes"] == {"encoder_units": "plain"}


def test_another_seed_is_another_training(corpus: Path, tmp_path: Path) -> None:
    """The negative control of the test above."""
    first, second = (
        Trainer(tiny_config(corpus, seed=seed), tmp_path / str(seed), CPU) for seed in (1, 2)
    )
    advance(first, 2)
    advance(second, 2)
    assert len(differing(first.state()["model"], second.state()["model"])) > 20


def test_minutes_stop_a_run_with_a_checkpoint(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus)
    trainer = Trainer(config, tmp_path, CPU)
    trainer.run(minutes=0.0)
    assert trainer.step == 1
    again = resumed(config, tmp_path)
    assert again.step == 1
    assert again.hours > 0
    again.run(minutes=10)
    assert again.step == 6
    assert again.hours > trainer.hours


def test_a_checkpoint_is_kept_every_so_often(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[int] = []
    monkeypatch.setattr(Trainer, "save", lambda self: saves.append(self.step))
    Trainer(tiny_config(corpus, checkpoint_minutes=0.0), tmp_path, CPU).run()
    assert saves == [1, 2, 3, 4, 5, 6, 6]


def test_a_kill_while_saving_leaves_the_checkpoint_before(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    trainer.save()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    trainer.step = 99

    def half(_: object, path: Path) -> None:
        Path(path).write_bytes(b"half a checkp")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            trainer.save()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    trainer.save()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 99


def test_a_full_disk_leaves_the_checkpoint_before(
    corpus: Path, tmp_path: Path, limited_size: Callable[[int], None]
) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    trainer.save()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    limited_size(len(before) // 10)
    with pytest.raises(FileError, match=r"checkpoint\.pt cannot be written: is the disk full"):
        trainer.save()
    with pytest.raises(FileError, match=r"packed\.pt cannot be written: is the disk full"):
        pack_checkpoint(tmp_path, tmp_path / "packed.pt")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "config.json"}


def test_a_small_checkpoint_that_cannot_be_written_leaves_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.parent.mkdir()
    shutil.copyfile(ROOT / "recipes" / "iris-t1-cpu.pt", checkpoint)
    before = checkpoint.read_bytes()
    for pack, why in (
        (checkpoint, "checkpoint.pt is the checkpoint itself: give another file"),
        (tmp_path / "no" / "small.pt", "small.pt cannot be written: No such file or directory"),
    ):
        for source in (checkpoint, checkpoint.parent):
            assert run(["export", str(source), str(tmp_path / "out"), "--pack", str(pack)]) == 2
            assert why in " ".join(capsys.readouterr().err.split())
    assert checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_checkpoint_of_another_model_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    trainer.save()
    monkeypatch.setitem(CONFIGS, "other", ENTRY)
    other = Trainer(tiny_config(corpus, model="other"), tmp_path, CPU)
    with pytest.raises(ValueError, match=r"training of small, .* model is other"):
        other.restore(tmp_path / "checkpoint.pt")
    changed = Trainer(tiny_config(corpus, model_changes={"codebooks": 2}), tmp_path, CPU)
    assert changed.model.codebooks == changed.ema.codebooks == 2
    with pytest.raises(ValueError, match=r'training of small, .* small with {"codebooks": 2}:'):
        changed.restore(tmp_path / "checkpoint.pt")
    changed.save()
    again = resumed(changed.config, tmp_path)
    assert differing(changed.state(), again.state()) == []


def test_a_checkpoint_of_other_weights_is_refused_in_a_line(corpus: Path, tmp_path: Path) -> None:
    """For example, the model has more layers now."""
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    state = trainer.state()
    del state["model"]["encoder.0.conv.bias"]
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match=r"another small: .* 1 missing \(encoder.0.conv.bias\):"):
        trainer.restore(tmp_path / "checkpoint.pt")


def test_discriminators_join_a_training_that_had_none(corpus: Path, tmp_path: Path) -> None:
    stopped(tiny_config(corpus), tmp_path, 3)
    second = resumed(tiny_config(corpus, **with_adversary()), tmp_path)
    assert "discriminator" in advance(second, 4)[0]


def test_more_discriminators_join_those_there_are(corpus: Path, tmp_path: Path) -> None:
    changes = with_adversary()
    every = changes["adversary"].pop("discriminators")
    one = changes | {"adversary": {"discriminators": {"mel": every["mel"]}}}
    first = stopped(tiny_config(corpus, **one), tmp_path, 3)
    both = changes | {"adversary": {"discriminators": every}}
    second = resumed(tiny_config(corpus, **both), tmp_path)
    kept, now = (trainer.adversary.discriminators.state_dict() for trainer in (first, second))
    assert all(torch.equal(now[name], value) for name, value in kept.items())
    advance(second, 4)
    other = every["mel"] | {"options": every["mel"]["options"] | {"channels": 5}}
    changed = changes | {"adversary": {"discriminators": {"mel": other}}}
    with pytest.raises(ModelError, match="discriminator mel has other options"):
        Trainer(tiny_config(corpus, **changed), tmp_path, CPU).restore(tmp_path / "checkpoint.pt")


def test_a_resumed_run_follows_its_recipe(corpus: Path, tmp_path: Path) -> None:
    stopped(tiny_config(corpus, **with_adversary()), tmp_path, 3)
    changes = with_adversary(learning_rate=3e-3) | {"betas": (0.5, 0.9), "weight_decay": 0.2}
    second = resumed(tiny_config(corpus, **changes), tmp_path)
    advance(second, 4)
    assert second.adversary.optimiser is not None
    for optimiser in (second.optimiser, second.adversary.optimiser):
        assert optimiser.param_groups[0]["betas"] == (0.5, 0.9)
        assert optimiser.param_groups[0]["weight_decay"] == 0.2
    share = second.config.learning_rate_at(3) / second.config.learning_rate
    assert second.adversary.optimiser.param_groups[0]["lr"] == pytest.approx(3e-3 * share)
