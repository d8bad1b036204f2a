"""The loop with a small model on a corpus of seconds: steps, stages, dropout, processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import chirrup
import small_lrac
from chirrup.errors import UsageError
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.adversarial import trainer as adversary_module
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.loop import Trainer
from small_model import DELAY, ENTRY, NAME
from tiny_training import (
    LRAC_WAY,
    MEL,
    advance,
    differing,
    heard_by_losses,
    tiny_config,
    tiny_recipe,
    with_adversary,
)

CPU = torch.device("cpu")
TESTS, SOURCE = Path(__file__).parents[2] / "support", Path(chirrup.__file__).parents[1]


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    monkeypatch.setitem(CONFIGS, small_lrac.NAME, small_lrac.ENTRY)


def test_too_few_vectors_for_the_codebooks_are_seen_at_the_start(
    corpus: Path, tmp_path: Path
) -> None:
    """The error comes before the first stage. A crop has five frames, fewer than entries."""
    changes = {"codes": {"initialise_batches": 1}, "batch_size": 1}
    data = tiny_recipe(corpus)["data"] | {"crop_seconds": 0.1}
    trainer = Trainer(tiny_config(corpus, **changes, data=data), tmp_path, CPU)
    with pytest.raises(UsageError, match="5 vectors cannot initialise 256 entries: raise codes"):
        trainer.run()


@pytest.mark.parametrize("optimiser", ["adamw", "radam"])
@pytest.mark.parametrize(("size", "limit"), [(1e-3, 1.0), (10.0, 1.0), (10.0, 0.0)])
def test_an_update_clips_gradients_by_their_norm(
    corpus: Path, tmp_path: Path, optimiser: str, size: float, limit: float
) -> None:
    """A limit of 0 is none."""
    config = tiny_config(corpus, optimiser=optimiser, clip_norm=limit)
    trainer, plain = (Trainer(config, tmp_path, CPU) for _ in range(2))
    for step in range(3):
        torch.manual_seed(step)
        for ours, theirs in zip(trainer.parameters, plain.parameters, strict=True):
            ours.grad = size * torch.randn_like(ours)
            theirs.grad = ours.grad.clone()
        norm = trainer.update(trainer.parameters)
        expected = torch.nn.utils.clip_grad_norm_(plain.parameters, limit or torch.inf)
        plain.optimiser.step()
        assert_close(norm, expected)
        for ours, theirs in zip(trainer.parameters, plain.parameters, strict=True):
            assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


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
    recipe["stages"][0]["conditions"] = {"clean": 1}
    trainer = Trainer(TrainingConfig.model_validate(recipe), tmp_path, CPU)
    sampler = trainer.sampler()
    drawn = []
    for _ in range(4):
        trainer.train_step(sampler)
        trainer.step += 1
        drawn.append(sampler.weights.tolist())
    assert drawn == 3 * [[1, 0, 0, 0, 0]] + [[8, 5, 5, 2, 0]]


def test_more_codebooks_than_the_model_has_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"codes\.choices must be at most 4"):
        Trainer(tiny_config(corpus, codes={"choices": [1, 5]}), tmp_path, CPU)


def test_a_stage_without_losses_needs_a_checkpoint(corpus: Path, tmp_path: Path) -> None:
    """It counts the steps of an earlier training."""
    before = {"name": "before", "steps": 2, "weights": {}}
    recipe = tiny_recipe(corpus)
    recipe["stages"] = [before, *recipe["stages"]]
    trainer = Trainer(TrainingConfig.model_validate(recipe), tmp_path, CPU)
    with pytest.raises(UsageError, match=r"stage before has no loss: .*checkpoint"):
        trainer.run()
    empty = TrainingConfig.model_validate(recipe | {"stages": []})
    with pytest.raises(UsageError, match="the recipe has no stage"):
        Trainer(empty, tmp_path, CPU).run()


def test_crops_must_hold_a_window(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus, spectra={"n_ffts": [8192], "mels": [8]}), tmp_path, CPU)
    with pytest.raises(UsageError, match="longest window of the losses, 8192"):
        trainer.sampler()


def test_a_stage_without_quantizer_leaves_it_alone(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    advance(trainer, 3)
    idle = {id(parameter) for parameter in trainer.parts["quantizer"]}
    assert not any(id(parameter) in idle for parameter in trainer.optimiser.state)
    advance(trainer, 4)
    assert any(id(parameter) in idle for parameter in trainer.optimiser.state)


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_estimate_is_compared_with_the_target_it_belongs_to(
    corpus: Path, tmp_path: Path, gain: float
) -> None:
    """A model that only delays has no error except the gain of the target."""
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
    drawn = trainer.draw_dropout(audio, trainer.config.stages[1])
    used, bypass, present = drawn.used, drawn.bypass, drawn.present
    assert set(used.tolist()) == {2, 3, 4}
    share = (used == 4).float().mean()  # kept: 0.4; dropped, but drawn in full: 0.6 * 0.5 / 3
    assert float(share) == pytest.approx(0.5, abs=0.03)
    assert float(bypass.float().mean()) == pytest.approx(0.3, abs=0.03)
    lossy = ~present.all(1)
    assert float(lossy.float().mean()) == pytest.approx(0.4, abs=0.04)
    rate = (~present[lossy]).float().mean()
    assert 0.11 < float(rate) < 0.19
    drawn = trainer.draw_dropout(audio, trainer.config.stages[0])
    assert drawn.bypass.all()
    assert drawn.present.all()


def test_entries_of_lrac_follow_averages_and_not_gradients(corpus: Path, tmp_path: Path) -> None:
    """The averaged model has the averages from before the step."""
    trainer = Trainer(tiny_config(corpus, **LRAC_WAY, codes={"revive_every": 100}), tmp_path, CPU)
    assert isinstance(trainer.optimiser, torch.optim.RAdam)
    advance(trainer, 5)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    figures = advance(trainer, 6)
    assert figures[0]["commitment"] > 0
    after, average = trainer.model.state_dict(), trainer.ema.state_dict()
    optimised = {id(value) for group in trainer.optimiser.param_groups for value in group["params"]}
    for index in range(trainer.model.codebooks):
        level = trainer.model.quantizer.trained_levels[index]
        assert id(level.codebook) not in optimised
        for part in ("codebook", "counts", "sums"):
            name = f"quantizer.levels.{index}.{part}"
            assert not torch.equal(after[name], before[name])
            assert torch.equal(average[name], before[name])
    assert len(optimised) == len(list(trainer.model.parameters()))


def test_a_stage_that_trains_the_decoder_changes_no_code(corpus: Path, tmp_path: Path) -> None:
    """Not by averages or by new entries for rare codes either."""
    first, codec = tiny_recipe(corpus)["stages"]
    stages = [first, codec, codec | {"name": "decoder", "train": ["decoder"]}]
    changes = LRAC_WAY | {"stages": stages, "codes": {"revive_every": 1, "revive_below": 0.9}}
    trainer = Trainer(tiny_config(corpus, **changes), tmp_path, CPU)
    advance(trainer, 6)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    advance(trainer, 9)
    changed = {
        name.partition(".")[0]
        for name, value in trainer.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"decoder"}


def test_the_recipe_chooses_spectra_and_how_features_count(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"include_logits": True, "normalise": False, "average_layers": False}
    changes = with_adversary(**chosen) | {"spectra": {"n_ffts": [64, 128], "mels": [8, 12]}}
    trainer = Trainer(tiny_config(corpus, **changes), tmp_path, CPU)
    assert trainer.reconstruction.spectral.n_ffts == (64, 128)
    assert trainer.reconstruction.spectral.get_buffer("mel_128").shape == (65, 12)
    given: dict[str, Any] = {}

    def record(real: Any, fake: Any, **options: Any) -> Tensor:
        given.update(options)
        return fake[0][0].sum()

    monkeypatch.setattr(adversary_module, "feature_matching_loss", record)
    weights = {"adversarial": 1, "features": 1}
    trainer.adversary.step(torch.randn(2, 4560), torch.randn(2, 4560), weights)
    assert given == chosen | {"fast": trainer.adversary.fast}


def test_a_gradient_that_is_not_finite_changes_no_weight(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny_config(corpus), tmp_path, CPU)
    advance(trainer, 1)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}

    def broken(estimate: Tensor, *_: object) -> dict[str, Tensor]:
        return {"mel": (estimate * torch.inf).sum()}

    monkeypatch.setattr(trainer.reconstruction, "forward", broken)
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
    """TOML reads strings, numbers and lists of JSON; inline tables need an equals sign."""

    def value(x: Any) -> str:
        if isinstance(x, dict):
            return "{" + ", ".join(f"{key} = {value(inner)}" for key, inner in x.items()) + "}"
        if isinstance(x, list):
            return "[" + ", ".join(map(value, x)) + "]"
        return json.dumps(x)

    return "\n".join(f"{key} = {value(x)}" for key, x in recipe.items())


@pytest.mark.slow
def test_two_processes_stay_alike(corpus: Path, tmp_path: Path) -> None:
    """Parameters, averages, codebooks, usage and discriminators are equal on different data."""
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
