"""Discriminators and model are trained against each other."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.adversarial import losses
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


def test_discriminators_have_their_rate_in_a_stage_with_its_own(
    corpus: Path, tmp_path: Path
) -> None:
    """Their rate does not depend on the model's, and it decays in the same proportion."""
    changes = with_adversary(learning_rate=4e-3) | {"learning_rate": 5e-5, "warmup_steps": 0}
    changes |= {"final_learning_rate": 5e-6}
    changes["stages"][1] |= {"learning_rate": 4e-4}
    trainer = Trainer(tiny_config(corpus, **changes), tmp_path, CPU)
    assert trainer.adversary.optimiser is not None
    for step in (2, 4):
        advance(trainer, step + 1)
        rate, own = (
            x.param_groups[0]["lr"] for x in (trainer.optimiser, trainer.adversary.optimiser)
        )
        assert rate == trainer.config.learning_rate_at(step)
        assert own == pytest.approx(4e-3 * rate / 4e-4)
    assert trainer.config.learning_rate_at(2) == 4e-4


def test_discriminators_get_all_clips_at_one_level(corpus: Path, tmp_path: Path) -> None:
    """Biases of a discriminator hide quiet clips, and its training fails."""
    trainer = Trainer(tiny_config(corpus, **with_adversary()), tmp_path, CPU)
    seen: list[Tensor] = []
    discriminators = trainer.adversary.discriminators
    discriminators.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    advance(trainer, 3)
    levels = seen[0].square().mean((1, 2)).sqrt()
    assert levels.tolist() == pytest.approx([1.0] * len(levels))


@pytest.mark.parametrize("plain", [False, True])
def test_a_turn_gives_both_sides_the_gradients_of_separate_passes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    changes = with_adversary(bf16=False)
    trainer = Trainer(tiny_config(corpus, **changes), tmp_path, CPU, plain=plain)
    trainer.sampler()  # enables the fast forms
    adversary = trainer.adversary
    assert adversary.fast is (fast.available() and not plain)
    target, estimate = torch.randn(2, 2, 4560).unbind(0)
    estimate.requires_grad_()
    real, fake = adversary(target), adversary(estimate)
    own = losses.hinge_discriminator_loss(real, fake)
    through = 2 * losses.hinge_generator_loss(fake)
    through += 3 * losses.feature_matching_loss(real, fake, normalise=True, average_layers=True)
    expected = torch.autograd.grad(own, adversary.parameters, retain_graph=True)
    (expected_through,) = torch.autograd.grad(through, estimate)
    seen: list[Tensor] = []
    assert adversary.optimiser is not None

    def record() -> None:
        seen.extend(p.grad.clone() for p in adversary.parameters if p.grad is not None)

    monkeypatch.setattr(adversary.optimiser, "step", record)
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *_: torch.ones(()))
    figures, gradient = adversary.step(estimate, target, {"adversarial": 2, "features": 3})
    torch.testing.assert_close(gradient, expected_through, rtol=1e-3, atol=1e-6)
    for found, right in zip(seen, expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-5)
    assert set(figures) == {"discriminator", "adversarial", "features"}
    assert figures["discriminator"] == pytest.approx(float(own.detach()), rel=1e-4)
    assert estimate.grad is None
    assert all(p.grad is None and p.requires_grad for p in adversary.parameters)
