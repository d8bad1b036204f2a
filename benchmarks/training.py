"""Measure the audio that a training step uses for its CPU time, and the time of its parts.

    python benchmarks/training.py RECIPE [KEY=VALUE ...] [--against COMMIT] [--rounds 8]

README.md in this folder explains the tables.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from chirrup.lab.nn import Sequential
from chirrup.lab.training.config import LossWeights, TrainingConfig, load_recipe
from chirrup.lab.training.loop import Sampler, Trainer
from shared import console, machine, recipe_file, table

ROOT = Path(__file__).parents[1]
STEPS = 4
"""Steps in a turn of each commit."""


def stage_of(config: TrainingConfig, name: str | None) -> int:
    """Return the first step of a stage, by default the last one that has steps."""
    first, starts = 0, {}
    for stage in config.stages:
        if stage.weights.positive and stage.steps:
            starts[stage.name] = first
        first += stage.steps
    if name is None:
        return list(starts.values())[-1]
    if name not in starts:
        raise SystemExit(f"the recipe has no stage {name!r}; it has {', '.join(starts)}")
    return starts[name]


def trainer_at(options: argparse.Namespace, folder: Path) -> tuple[Trainer, Sampler]:
    """Return a training with fresh weights, after the first steps of its stage."""
    config = load_recipe(options.recipe, options.changes)
    how = {"plain": True} if options.plain else {}  # other commits may not have the option
    torch.set_num_threads(1)
    trainer = Trainer(config, folder, torch.device("cpu"), **how)
    sampler = trainer.sampler()
    trainer.start_model(sampler)
    trainer.step = stage_of(config, options.stage)
    for _ in range(2):
        trainer.train_step(sampler)
        trainer.step += 1
    return trainer, sampler


def steps(trainer: Trainer, sampler: Sampler, count: int) -> tuple[float, float]:
    """Return CPU and wall seconds of a step."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(count):
        trainer.train_step(sampler)
        trainer.step += 1
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count


# --- two commits in turns ------------------------------------------------------------------------


def work(options: argparse.Namespace) -> None:
    """Run the process of one commit: for each input line, train and print the times."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, sampler = trainer_at(options, Path(folder))
        config = trainer.config
        seconds = config.batch_size * config.data.crop_seconds
        print(json.dumps({"seconds": seconds}), flush=True)
        for _ in sys.stdin:
            print(json.dumps(steps(trainer, sampler, STEPS)), flush=True)


class Worker:
    """A process that trains in one work tree."""

    def __init__(self, tree: Path, options: argparse.Namespace, *, plain: bool) -> None:
        recipe = tree / options.recipe.resolve().relative_to(ROOT)
        command = [sys.executable, __file__, str(recipe), *options.changes, "--work"]
        command += ["--stage", options.stage] if options.stage else []
        command += ["--plain"] if plain else []
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(tree / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seconds: float = self._answer()["seconds"]

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line[0] in "[{":  # standard output also has progress bars
                return json.loads(line)
        raise SystemExit("a process of the benchmark failed")

    def turn(self) -> tuple[float, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        cpu, wall = self._answer()
        return cpu, wall

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Create a temporary work tree of a commit."""
    folder = Path(tempfile.mkdtemp(prefix="chirrup-training-"))
    git = ["git", "-C", str(ROOT), "worktree"]
    try:
        subprocess.run([*git, "add", "--detach", folder, commit], check=True, capture_output=True)
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", folder], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def against(options: argparse.Namespace) -> Table:
    """Return a table of whole steps of this tree and of another commit, in turns."""
    with checkout(options.against) as tree:
        workers = {
            options.against: Worker(tree, options, plain=False),
            "this tree": Worker(ROOT, options, plain=options.plain),
        }
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
        try:
            for _ in range(options.rounds):
                for name, worker in workers.items():
                    turns[name].append(worker.turn())
        finally:
            for worker in workers.values():
                worker.close()
    result = table(
        f"{options.recipe.name}, medians of {options.rounds} turns of {STEPS} steps",
        "commit",
        "audio s a step",
        "CPU s a step",
        "audio s a CPU s",
        "audio s a wall s",
        "ratio",
    )
    first = turns[options.against]
    base = workers[options.against].seconds
    for name, worker in workers.items():
        cpu, wall = (median(turn[index] for turn in turns[name]) for index in (0, 1))
        ratios = sorted(
            before[0] / after[0] * worker.seconds / base
            for before, after in zip(first, turns[name], strict=True)
        )
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rates = (f"{worker.seconds / cpu:.2f}", f"{worker.seconds / wall:.2f}")
        result.add_row(name, f"{worker.seconds:g}", f"{cpu:.3f}", *rates, spread)
    return result


# --- where the time goes -------------------------------------------------------------------------


def cpu_of(repeat: int, work: Callable[[], Any]) -> float:
    """Return the median CPU seconds of a call, after a warm-up call."""
    work()
    spent = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return median(spent)


def backward(value: Tensor) -> None:
    value.backward(torch.ones_like(value))


def model_parts(trainer: Trainer, audio: Tensor) -> dict[str, Callable[[], Any]]:
    """Return forward and backward passes of the parts of the model."""
    model = trainer.model
    _, stage = trainer.config.stage_at(trainer.step)
    used = torch.full((len(audio),), model.codebooks)
    model_input = trainer.to_input_rate(audio)
    latent = model.encoder.offline(model_input).detach().requires_grad_()

    def through(part: Sequential, x: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=trainer.bf16):
            y = part.offline(x)
        backward(y)

    def quantize() -> None:
        quantized = model.quantized(latent, used)
        backward(quantized.latent.sum() + quantized.commitment + quantized.codebook)

    def whole() -> None:
        dropout = trainer.draw_dropout(audio, stage)
        with torch.autocast("cpu", torch.bfloat16, enabled=trainer.bf16):
            output = trainer.forward(model_input, stage, dropout)
        losses = list(output.losses.values())
        if output.audio is not None:
            losses.append(output.audio.sum())
        backward(torch.stack(losses).sum())

    if stage.distils:
        return {"model and teacher": whole}
    return {
        "encoder": partial(through, model.encoder, model_input),
        "quantizer": quantize,
        "decoder": partial(through, model.decoder, latent),
    }


def other_parts(trainer: Trainer, sampler: Sampler) -> dict[str, Callable[[], Any]]:
    """Return calls of data, losses, discriminators and optimiser."""
    # Imported here, because other commits have it in another module.
    from chirrup.lab.training.adversarial.trainer import DiscriminatorTrainer

    config = trainer.config
    _, stage = config.stage_at(trainer.step)
    trained = trainer.set_trainable(stage)
    target = trainer.model.tiled(sampler.batch(config.batch_size)[0]).flatten(0, 1)
    target = target[:, : target.shape[1] - trainer.model.delay_samples].contiguous()
    estimate = (target + 0.1 * torch.randn_like(target)).requires_grad_()

    def compare(term: str) -> Callable[[], Any]:
        alone = stage.model_copy(update={"weights": LossWeights.model_validate({term: 1})})
        return lambda: backward(
            next(iter(trainer.reconstruction(estimate, target, alone).values()))
        )

    parts: dict[str, Callable[[], Any]] = {"data": lambda: sampler.batch(config.batch_size)}
    compared = trainer.reconstruction(estimate, target, stage)
    parts |= {f"loss {term}": compare(term) for term in sorted(compared)}
    if stage.adversarial:
        for name, member in config.adversary.discriminators.items():
            alone = config.adversary.model_copy(update={"discriminators": {name: member}})
            optimise = trainer.adversary_optimiser
            adversary = DiscriminatorTrainer(
                alone, trainer.model.channels, trainer.device, optimise
            )
            if trainer.adversary.fast:
                adversary.use_fast_forms()
            every = f" (every {config.adversary.every})" if config.adversary.every > 1 else ""
            turn = partial(adversary.step, estimate, target, stage.weights.model_dump())
            parts[f"discriminator {name}{every}"] = turn
    for parameter in trained:
        parameter.grad = 1e-4 * torch.randn_like(parameter)
    parts["clipping and optimiser"] = lambda: trainer.update(trained)
    parts["EMA"] = trainer.update_ema
    return parts


def where(options: argparse.Namespace) -> Table:
    """Return a table of the whole step and of each part alone."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, sampler = trainer_at(options, Path(folder))
        config = trainer.config
        spent = [steps(trainer, sampler, STEPS) for _ in range(options.rounds)]
        cpu, wall = (median(turn[index] for turn in spent) for index in (0, 1))
        audio = trainer.model.tiled(sampler.batch(config.batch_size)[0])
        parts = model_parts(trainer, audio) | other_parts(trainer, sampler)
        times = {name: cpu_of(options.rounds, part) for name, part in parts.items()}
    seconds = config.batch_size * config.data.crop_seconds
    title = f"{options.recipe.name}, {seconds:g} s of audio a step"
    result = table(title, "part", "CPU ms", "share of the step")
    result.add_row("whole step", f"{1000 * cpu:.0f}", "")
    for name, value in times.items():
        result.add_row(name, f"{1000 * value:.1f}", f"{value / cpu:.0%}")
    console.print(
        f"{seconds / cpu:.2f} s of audio a CPU second, {seconds / wall:.2f} a wall second, "
        f"medians of {options.rounds} turns of {STEPS} steps",
        highlight=False,
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step, and its parts.")
    parser.add_argument("recipe", type=recipe_file)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--against", metavar="COMMIT", help="compare with another commit's step")
    parser.add_argument("--stage", metavar="NAME", help="by default the recipe's last one")
    parser.add_argument("--rounds", type=int, default=8, help="turns that medians are taken of")
    parser.add_argument("--plain", action="store_true", help="without the fast forms")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args()
    if options.work:
        work(options)
        return
    console.print(machine(), highlight=False)
    console.print(against(options) if options.against else where(options))


if __name__ == "__main__":
    main()
