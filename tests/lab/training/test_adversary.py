"""Discriminators and model train each other."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from chirrup.lab.models import CONFIGS
from chirrup.lab.training.loop import Trainer
from small_model import ENTRY, NAME
from tiny_training import advance, tiny_config, with_adversary

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)


def test_the_adversarial_stage_trains_both_sides(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus, **with_adversary()), tmp_path, CPU)
    advance(trainer, 2)
    before = {
        name: value.clone() for name, value in trainer.adversary.discriminators.state_dict().items()
    }
    model = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    figures = advance(trainer, 4)
    assert {"adversarial", "features", "discriminator"} <= set(figures[0])
    after = trainer.adversary.discriminators.state_dict()
    weights = [name for name in before if before[name].is_floating_point()]
    moved = [name for name in weights if not torch.equal(after[name], before[name])]
    assert {name.partition(".")[0] for name in moved} == {"stft", "mel"}
    assert len(moved) > 0.9 * len(weights)
    assert all(torch.isfinite(after[name]).all() for name in weights)
    assert not torch.equal(
        trainer.model.state_dict()["encoder.0.conv.bias"], model["encoder.0.conv.bias"]
    )


def test_discriminators_take_turns(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus, **with_adversary(every=2)), tmp_path, CPU)
    turns = ["discriminator" in figures for figures in advance(trainer, 6)]
    assert turns == [False, False, True, False, True, False]


def test_discriminators_hear_all_clips_at_one_level(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quiet clips drown in the biases of a discriminator, which then learns nothing."""
    trainer = Trainer(tiny_config(corpus, **with_adversary()), tmp_path, CPU)
    heard: list[Tensor] = []
    judge = trainer.adversary.judge

    def record(audio: Tensor) -> list[list[Tensor]]:
        heard.append(audio.detach())
        return judge(audio)

    monkeypatch.setattr(trainer.adversary, "judge", record)
    advance(trainer, 3)
    assert heard[0].square().mean(1).sqrt().tolist() == pytest.approx([1.0] * len(heard[0]))


def test_losses_through_discriminators_leave_them_alone(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus, **with_adversary()), tmp_path, CPU)
    estimate = torch.randn(2, 4560).requires_grad_()
    terms = trainer.adversary.terms(estimate, torch.randn(2, 4560))
    torch.stack(list(terms.values())).sum().backward()
    assert estimate.grad is not None
    assert float(estimate.grad.abs().sum()) > 0
    assert all(p.grad is None and p.requires_grad for p in trainer.adversary.parameters)
