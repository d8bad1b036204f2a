"""Experiments: train variants of a model with one recipe for equal steps, export and compare them.

If an experiment was stopped, it continues. It prints tables; plots against the bitrate and players
are in the report.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import chirrup
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.results import RESULTS, Results
from chirrup.evaluate.tables import cell, lines
from shared import console, table

ROOT = Path(__file__).parents[1]
CHIRRUP = ("-m", "chirrup")
CARRY_OVER = Path(__file__).with_name("carry_over.py")
WHISPER_BASE = ROOT / "runs" / "whisper-base"
"""Folder of a teacher, which docs/how-to/train.md describes."""


@dataclass(frozen=True)
class Experiment:
    """A comparison of variants.

    Attributes:
        recipe: recipe of all variants.
        variants: changes to the recipe, by name of the variant.
        short: changes of all variants. The command line may override them.
        rates_bps: bitrates of the scores. The table shows the last one.
        scores: names of metrics.
        clips: folder of the clips, in the corpus or elsewhere.
        start: checkpoint from which all variants continue.
        fresh: part of the model that begins anew nevertheless, such as "decoder".
        condition: condition in which the clips are scored once more, as in ``chirrup evaluate``.
    """

    recipe: Path
    variants: dict[str, tuple[str, ...]]
    short: tuple[str, ...]
    rates_bps: tuple[int, ...]
    scores: tuple[str, ...]
    clips: str = "music_test"
    start: Path | None = None
    fresh: str | None = None
    condition: str | None = None


def parser(description: str, folder: str, *experiments: str) -> argparse.ArgumentParser:
    """Return the parser of a script with experiments, which write to runs/``folder``.

    Args:
        experiments: names of the experiments, if the script has several.
    """
    result = argparse.ArgumentParser(description=description)
    if experiments:
        result.add_argument("experiment", choices=experiments)
    result.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    result.add_argument("--corpus", type=Path, required=True)
    result.add_argument("--out", type=Path, default=ROOT / "runs" / folder)
    result.add_argument("--only", nargs="+", metavar="NAME", help="variants to train; default all")
    result.add_argument("--processes", type=int, default=2, help="processes of a training")
    return result


def in_toml(value: object) -> str:
    """Write a list, table, string or number as TOML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {in_toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return json.dumps(value)


def run(*arguments: object) -> None:
    """Run Python."""
    command = [sys.executable, *map(str, arguments)]
    console.print("$ " + " ".join(["python", *command[1:]]), highlight=False, soft_wrap=True)
    if code := subprocess.run(command).returncode:
        raise SystemExit(code)


def compare(experiment: Experiment, out: Path, options: argparse.Namespace) -> None:
    """Train, export and evaluate every variant, and print a table."""
    models = []
    for name, changes in experiment.variants.items():
        if options.only and name not in options.only:
            continue
        train(experiment, changes, out / "runs" / name, options)
        models.append(out / "models" / name)
        run(*CHIRRUP, "export", out / "runs" / name, models[-1])
    rates = ",".join(map(str, experiment.rates_bps))
    systems = [f"{model}@{rates}" for model in models]
    clips = options.corpus / experiment.clips
    evaluate(systems, experiment.scores, out, clips)
    console.print(variants_table(experiment, models, Results.read(out / RESULTS)))
    if experiment.condition:
        out /= "condition"
        evaluate(systems, experiment.scores, out, clips, "--condition", experiment.condition)
        console.print(experiment.condition)
        console.print(variants_table(experiment, models, Results.read(out / RESULTS)))


def train(
    experiment: Experiment, changes: tuple[str, ...], out: Path, options: argparse.Namespace
) -> None:
    """Train one variant in ``out``, or continue its training."""
    checkpoint, start = out / "checkpoint.pt", experiment.start
    data = f"data.manifest={options.corpus / 'MANIFEST.csv'}"
    every = (*changes, data, *experiment.short, *options.changes)
    if start is not None and not checkpoint.exists():
        out.mkdir(parents=True, exist_ok=True)
        if experiment.fresh:
            part = ("--fresh", experiment.fresh, "--minutes", "0")
            run(CARRY_OVER, start, experiment.recipe, "--out", out, *part, *every)
        else:
            shutil.copyfile(start, checkpoint)
    several = (
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={options.processes}",
    )
    arguments = (*CHIRRUP, "train", experiment.recipe, "--out", out, *every)
    run(*(several if options.processes > 1 else ()), *arguments)


def evaluate(
    systems: list[str], scores: tuple[str, ...], out: Path, clips: Path, *more: str
) -> None:
    codecs = [word for system in systems for word in ("-c", system)]
    metrics = [word for name in scores for word in ("-m", name)]
    run(*CHIRRUP, "evaluate", clips, *codecs, *metrics, "--out", out, *more)


def variants_table(experiment: Experiment, models: list[Path], results: Results) -> object:
    """Return a table of the latency and scores of each variant at the highest bitrate."""
    rate_bps = experiment.rates_bps[-1]
    headings = [f"{METRICS[name].label} ({METRICS[name].better})" for name in experiment.scores]
    shown = table(f"At {rate_bps / 1000:g} kbit/s", "variant", "latency, ms", *headings)
    for model in models:
        codec = chirrup.load(model)
        latency_ms = 1000 * codec.latency_samples / codec.sample_rate_hz
        system = f"{model.name}-{rate_bps}"
        own = [row for row in results.rows if row.system == system]
        (line,) = lines(own, experiment.scores)
        scores = [cell(line.cells[name], METRICS[name]) for name in experiment.scores]
        shown.add_row(model.name, f"{latency_ms:.3g}", *scores)
    return shown
