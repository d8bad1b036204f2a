"""The loop on a small model and a corpus of seconds: it runs, stops, goes on, and agrees."""

import json
import os
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import chirrup
import small_lrac
from chirrup.lab.models import CONFIGS
from chirrup.lab.training import adversarial
from chirrup.lab.training.checkpoints import load_checkpoint
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.loop import Trainer
from chirrup.runtime.errors import ModelError
from small_model import DELAY, ENTRY, NAME
from tiny_training import (
    MEL,
    advance,
    differing,
    heard_by_losses,
    tiny_config,
    tiny_recipe,
    with_adversary,
    write_corpus,
)

CPU = torch.device("cpu")
TESTS, SOURCE = Path(__file__).parents[2], Path(chirrup.__file__).parents[1]
ROOT = TESTS.parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus")).parent


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    monkeypatch.setitem(CONFIGS, small_lrac.NAME, small_lrac.ENTRY)


def test_a_run_trains_logs_validates_and_leaves_a_checkpoint(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus, validate_every=6), tmp_path, CPU)
    trainer.run()
    assert trainer.step == 6
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 6
    assert saved["codebooks_started"]
    assert TrainingConfig.model_validate(saved["config"]) == trainer.config
    assert json.loads((tmp_path / "config.json").read_text()) == saved["config"]
    assert all(torch.isfinite(value).all() for value in saved["ema"].values())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6
    assert {"pesq_all", "pesq_lowest", "snr_db_bypass"} <= set(lines[-1])
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert not list(tmp_path.glob("*.part"))


def test_training_reduces_the_loss(corpus: Path, tmp_path: Path) -> None:
    stages = [{"name": "a", "steps": 25, "quantize": False, "weights": MEL}]
    config = tiny_config(corpus, stages=stages, learning_rate=3e-3, batch_size=4)
    losses = [f["loss"] for f in advance(Trainer(config, tmp_path, CPU), 25)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_figures_of_a_step(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    figures = advance(trainer, 4)
    assert {"waveform", "complex", "mel", "loss", "gradient"} <= set(figures[0])
    assert not {"commitment", "perplexity", "pesq"} & set(figures[0])
    assert {"commitment", "codebook", "perplexity", "entries_used"} <= set(figures[3])
    assert [f["stage"] for f in figures] == [0, 0, 0, 1]


def test_a_stage_draws_its_own_conditions(corpus: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(corpus)
    recipe["stages"][0]["conditions"] = [1, 0, 0, 0]
    trainer = Trainer(TrainingConfig.model_validate(recipe), tmp_path, CPU)
    sampler = trainer.sampler()
    drawn = []
    for _ in range(4):
        trainer.train_step(sampler)
        trainer.step += 1
        drawn.append(sampler.conditions.tolist())
    assert drawn == 3 * [[1, 0, 0, 0]] + [[8, 5, 5, 2, 0]]


LRAC_WAY = {
    "model": small_lrac.NAME,
    "optimiser": "radam",
    "schedule": "exponential",
    "betas": [0.9, 0.999],
}


@pytest.mark.parametrize(
    "changes",
    [{}, with_adversary(every=2), LRAC_WAY],
    ids=["reconstruction", "adversary", "lrac"],
)
def test_a_stopped_run_goes_on_as_it_would_have(
    corpus: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """To the bit: parameters, averages, optimisers, usage; the stop is in either stage."""
    config = tiny_config(corpus, **changes)
    whole = Trainer(config, tmp_path / "whole", CPU)
    advance(whole, 6)
    for stop in (1, 4):
        first = Trainer(config, tmp_path / "parts", CPU)
        advance(first, stop)
        first.save()
        torch.manual_seed(1234)  # the state of the world is not part of it
        second = Trainer(config, tmp_path / "parts", CPU)
        second.restore(tmp_path / "parts" / "checkpoint.pt")
        assert second.step == stop
        assert differing(first.state(), second.state()) == []
        advance(second, 6)
        assert differing(whole.state(), second.state()) == []


def test_a_checkpoint_goes_on_though_parts_have_changed_places(
    corpus: Path, tmp_path: Path
) -> None:
    """An optimiser numbers its parameters; what it remembers stays with the names."""
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
    second = Trainer(config, tmp_path, CPU)
    second.restore(tmp_path / "checkpoint.pt")
    assert differing(first.state(), second.state()) == []


def test_an_optimiser_of_other_parameters_is_refused(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    state = trainer.state()
    state["optimiser"]["param_groups"][0]["params"].pop()
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="of other parameters"):
        trainer.restore(tmp_path / "checkpoint.pt")


def test_the_flagships_training_can_go_on(tmp_path: Path) -> None:
    """What `recipes/` keeps of it fits the model and the discriminators of today."""
    packed = ROOT / "recipes" / "iris-t1-cpu.pt"
    config = TrainingConfig.model_validate(load_checkpoint(packed)["config"])
    trainer = Trainer(config, tmp_path, CPU)
    trainer.restore(packed)
    assert trainer.step > 20_000
    assert trainer.adversary.optimiser is not None
    for optimiser in (trainer.optimiser, trainer.adversary.optimiser):
        assert len(optimiser.state) > 100
        for parameter, state in optimiser.state.items():
            assert state["exp_avg"].shape == parameter.shape


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
    again = Trainer(config, tmp_path, CPU)
    again.restore(tmp_path / "checkpoint.pt")
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
    again = Trainer(changed.config, tmp_path, CPU)
    again.restore(tmp_path / "checkpoint.pt")
    assert differing(changed.state(), again.state()) == []


def test_crops_must_hold_a_window(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus, spectra={"n_ffts": [8192], "mels": [8]}), tmp_path, CPU)
    with pytest.raises(ModelError, match="shorter than a window of 8192"):
        trainer.sampler()


def test_discriminators_join_a_training_that_had_none(corpus: Path, tmp_path: Path) -> None:
    first = Trainer(tiny_config(corpus), tmp_path, CPU)
    advance(first, 3)
    first.save()
    second = Trainer(tiny_config(corpus, **with_adversary()), tmp_path, CPU)
    second.restore(tmp_path / "checkpoint.pt")
    assert "discriminator" in advance(second, 4)[0]


def test_more_discriminators_join_those_there_are(corpus: Path, tmp_path: Path) -> None:
    changes = with_adversary()
    every = changes["adversary"].pop("discriminators")
    one = changes | {"adversary": {"discriminators": {"mel": every["mel"]}}}
    first = Trainer(tiny_config(corpus, **one), tmp_path, CPU)
    advance(first, 3)
    first.save()
    both = changes | {"adversary": {"discriminators": every}}
    second = Trainer(tiny_config(corpus, **both), tmp_path, CPU)
    second.restore(tmp_path / "checkpoint.pt")
    kept, now = (trainer.adversary.discriminators.state_dict() for trainer in (first, second))
    assert all(torch.equal(now[name], value) for name, value in kept.items())
    advance(second, 4)
    other = every["mel"] | {"options": every["mel"]["options"] | {"channels": 5}}
    changed = changes | {"adversary": {"discriminators": {"mel": other}}}
    with pytest.raises(ModelError, match="discriminator mel has other options"):
        Trainer(tiny_config(corpus, **changed), tmp_path, CPU).restore(tmp_path / "checkpoint.pt")


def test_a_resumed_run_follows_its_recipe(corpus: Path, tmp_path: Path) -> None:
    first = Trainer(tiny_config(corpus, **with_adversary()), tmp_path, CPU)
    advance(first, 3)
    first.save()
    changes = with_adversary(learning_rate=3e-3) | {"betas": (0.5, 0.9), "weight_decay": 0.2}
    second = Trainer(tiny_config(corpus, **changes), tmp_path, CPU)
    second.restore(tmp_path / "checkpoint.pt")
    advance(second, 4)
    assert second.adversary.optimiser is not None
    for optimiser in (second.optimiser, second.adversary.optimiser):
        assert optimiser.param_groups[0]["betas"] == (0.5, 0.9)
        assert optimiser.param_groups[0]["weight_decay"] == 0.2
    share = second.config.learning_rate_at(3) / second.config.learning_rate
    assert second.adversary.optimiser.param_groups[0]["lr"] == pytest.approx(3e-3 * share)


def test_a_stage_without_quantizer_leaves_it_alone(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    advance(trainer, 3)
    idle = {id(parameter) for parameter in trainer.parts["quantizer"]}
    assert not any(id(parameter) in idle for parameter in trainer.optimiser.state)
    advance(trainer, 4)
    assert any(id(parameter) in idle for parameter in trainer.optimiser.state)


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


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_estimate_is_compared_with_the_target_it_belongs_to(
    corpus: Path, tmp_path: Path, gain: float
) -> None:
    """A model that only delays has no error but the gain that the target asks for."""
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    advance(trainer, 1)
    audio, _ = trainer.sampler().batch(2)
    estimate, target = heard_by_losses(trainer, DELAY, audio, gain * audio)
    assert torch.equal(gain * estimate, target)
    assert target.square().mean(1).tolist() == pytest.approx([1.0, 1.0], rel=1e-3)


def test_draws_of_codebooks_bypass_and_loss(corpus: Path, tmp_path: Path) -> None:
    codes = {"bypass": 0.3, "drop": 0.6, "lowest": 2, "lowest_share": 0.5, "lossy": 0.4}
    trainer = Trainer(tiny_config(corpus, codes=codes), tmp_path, CPU)
    trainer.generator.manual_seed(0)
    audio = torch.zeros(3000, 1, 50 * 480)
    used, bypass, present = trainer.draw_codes(audio, trainer.config.stages[1])
    assert set(used.tolist()) == {2, 3, 4}
    share = (used == 4).float().mean()  # kept: 0.4; dropped, but drawn in full: 0.6 * 0.5 / 3
    assert float(share) == pytest.approx(0.5, abs=0.03)
    assert float(bypass.float().mean()) == pytest.approx(0.3, abs=0.03)
    lossy = ~present.all(1)
    assert float(lossy.float().mean()) == pytest.approx(0.4, abs=0.04)
    rate = (~present[lossy]).float().mean()
    assert 0.11 < float(rate) < 0.19
    _, bypass, present = trainer.draw_codes(audio, trainer.config.stages[0])
    assert bypass.all()
    assert present.all()


def test_entries_of_lrac_follow_averages_and_not_gradients(corpus: Path, tmp_path: Path) -> None:
    """The averaged model has those that the step was made with."""
    trainer = Trainer(tiny_config(corpus, **LRAC_WAY, codes={"revive_every": 100}), tmp_path, CPU)
    assert isinstance(trainer.optimiser, torch.optim.RAdam)
    advance(trainer, 5)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    figures = advance(trainer, 6)
    assert figures[0]["commitment"] > 0
    after, average = trainer.model.state_dict(), trainer.ema.state_dict()
    optimised = {id(value) for group in trainer.optimiser.param_groups for value in group["params"]}
    for index in range(trainer.model.codebooks):
        level = trainer.model.quantizer.level(index)
        assert id(level.codebook) not in optimised
        for part in ("codebook", "counts", "sums"):
            name = f"quantizer.levels.{index}.{part}"
            assert not torch.equal(after[name], before[name])
            assert torch.equal(average[name], before[name])
    assert len(optimised) == len(list(trainer.model.parameters()))


def test_the_recipe_chooses_spectra_and_how_features_count(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"include_logits": True, "normalise": False, "average_layers": False}
    changes = with_adversary(**chosen) | {"spectra": {"n_ffts": [64, 128], "mels": [8, 12]}}
    trainer = Trainer(tiny_config(corpus, **changes), tmp_path, CPU)
    assert trainer.comparison.spectral.n_ffts == (64, 128)
    assert trainer.comparison.spectral.get_buffer("mel_128").shape == (65, 12)
    given: dict[str, Any] = {}

    def record(real: Any, fake: Any, **options: Any) -> Tensor:
        given.update(options)
        return fake[0][0].sum()

    monkeypatch.setattr(adversarial, "feature_matching_loss", record)
    trainer.adversary.terms(torch.randn(2, 4560), torch.randn(2, 4560))
    assert given == chosen


def test_a_gradient_that_is_not_finite_changes_no_weight(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    advance(trainer, 1)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}

    def broken(estimate: Tensor, *_: object) -> dict[str, Tensor]:
        return {"mel": (estimate * torch.inf).sum()}

    monkeypatch.setattr(trainer.comparison, "forward", broken)
    advance(trainer, 2)
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


# --- several processes ---------------------------------------------------------------------------

WORKER = """
import json, sys
from pathlib import Path
import torch
from small_model import ENTRY, NAME
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.run import train

torch.set_num_threads(1)
CONFIGS[NAME] = ENTRY
recipe, out = Path(sys.argv[1]), Path(sys.argv[2])
save, step = Trainer.save, Trainer.train_step
batches = []

def keep(self):
    save(self)
    torch.save(self.state() | {"batches": batches}, out / f"rank{self.rank}.pt")

def look(self, sampler):
    batch = sampler.batch
    def watched(size):
        audio, target = batch(size)
        batches.append(float(audio.abs().sum()))
        return audio, target
    sampler.batch = watched
    result = step(self, sampler)
    sampler.batch = batch
    return result

Trainer.save, Trainer.train_step = keep, look
train(recipe, out)
"""


def toml(recipe: dict[str, Any]) -> str:
    """TOML reads JSON's strings, numbers, lists; inline tables want an equals sign."""

    def value(x: Any) -> str:
        if isinstance(x, dict):
            return "{" + ", ".join(f"{key} = {value(inner)}" for key, inner in x.items()) + "}"
        if isinstance(x, list):
            return "[" + ", ".join(map(value, x)) + "]"
        return json.dumps(x)

    return "\n".join(f"{key} = {value(x)}" for key, x in recipe.items())


@pytest.mark.slow
def test_two_processes_stay_alike(corpus: Path, tmp_path: Path) -> None:
    """Parameters, averages, codebooks, usage, discriminators; on different data."""
    recipe, out, worker = tmp_path / "recipe.toml", tmp_path / "out", tmp_path / "worker.py"
    changes = with_adversary() | {"codes": {"revive_every": 1, "revive_below": 0.5}}
    changes["data"] = tiny_recipe(corpus)["data"] | {"cache": str(tmp_path / "cache")}
    recipe.write_text(toml(tiny_recipe(corpus, **changes)))
    worker.write_text(WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": f"{TESTS}{os.pathsep}{SOURCE}",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, worker, recipe, out],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    first, second = (torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert first["batches"] != second["batches"]
    assert first["step"] == second["step"] == 6
    first = {name: first[name] for name in first if name not in ("batches", "hours")}
    assert differing(first, {name: second[name] for name in first}) == []
    kept = torch.load(out / "checkpoint.pt", weights_only=True)
    assert differing(kept["model"], first["model"]) == []
