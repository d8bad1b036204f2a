"""The first three experiments on SpectroStream, each one command (seed 003, "First 3 experiments").

    python benchmarks/spectrostream.py fusion [KEY=VALUE ...]       # where channels are joined
    python benchmarks/spectrostream.py look-ahead [KEY=VALUE ...]   # what the decoder waits for
    python benchmarks/spectrostream.py bitrate [--model spectro-small]

The first two train a model for each variant, all by the same recipe for the same steps, export it
and evaluate all; a KEY=VALUE changes the recipe, as in `chirrup train`. The third needs only
weights. Everything goes on where it was stopped. Tables are printed; plots against the bitrate, and
players, are in the report.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import argparse
import subprocess
import sys
from pathlib import Path

import chirrup
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.results import RESULTS, Results
from chirrup.evaluate.tables import cell, lines
from shared import console, table

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "spectro-small-cpu.toml"
SHORT = ("stages.0.steps=1000", "stages.1.steps=2000", "stages.2.steps=0")
"""Of the recipe, unless the command line says otherwise: an hour or so a variant on two cores."""
VARIANTS = {
    "fusion": {f"separate-{levels}": f"separate_levels={levels}" for levels in (5, 6, 7)},
    "look-ahead": {
        f"look-ahead-{40 * embeddings}ms": f"look_ahead_hops={4 * embeddings}"
        for embeddings in range(4)
    },
}
"""Names and the field of the model's configuration; the paper's are 6 levels and 4 hops."""
RATES = (2750, 5250, 8000, 16_000)
SWEEP = (1000, 2750, 4000, 5250, 8000, 12_000, 16_000)
PEERS = ("opus@6k,9k,12k,16k,24k,32k", "vorbis@48k", "mp3@64k")
SCORES = ("visqol_audio", "mel_distance", "lsd", "snr", "ipd_error", "ild_error")


def run(*arguments: object, module: str = "chirrup") -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    console.print("$ " + " ".join(["python", *command[1:]]), highlight=False, soft_wrap=True)
    if code := subprocess.run(command).returncode:
        raise SystemExit(code)


def train(change: str, out: Path, options: argparse.Namespace) -> None:
    """Train one variant in ``out``, or go on with it."""
    data = f"data.manifest={options.corpus / 'MANIFEST.csv'}"
    changes = (f"model_changes.{change}", data, *SHORT, *options.changes)
    arguments = ("train", RECIPE, "--out", out, *changes)
    if options.processes == 1:
        run(*arguments)
    else:
        several = ("--standalone", f"--nproc_per_node={options.processes}")
        run(*several, "-m", "chirrup", *arguments, module="torch.distributed.run")


def compare(variants: dict[str, str], out: Path, options: argparse.Namespace) -> None:
    """Train, export and evaluate every variant."""
    models = []
    for name, change in variants.items():
        train(change, out / "runs" / name, options)
        models.append(out / "models" / name)
        run("export", out / "runs" / name, models[-1])
    rates = ",".join(map(str, RATES))
    evaluate([f"{model}@{rates}" for model in models], out, options)
    console.print(variants_table(models, Results.read(out / RESULTS)))


def evaluate(systems: list[str], out: Path, options: argparse.Namespace) -> None:
    codecs = [word for system in systems for word in ("-c", system)]
    metrics = [word for name in SCORES for word in ("-m", name)]
    run("evaluate", options.corpus / "music_test", *codecs, *metrics, "--out", out)


def variants_table(models: list[Path], results: Results) -> object:
    """Latency and scores of each variant at the highest bitrate."""
    headings = [f"{METRICS[name].label} ({METRICS[name].better})" for name in SCORES]
    shown = table(f"At {RATES[-1] / 1000:g} kbps", "variant", "latency, ms", *headings)
    for model in models:
        codec = chirrup.load(model)
        latency_ms = 1000 * codec.latency_samples / codec.sample_rate_hz
        system = f"{model.name}-{RATES[-1]}"
        (line,) = lines([row for row in results.rows if row.system == system], SCORES)
        scores = [cell(line.cells[name], METRICS[name]) for name in SCORES]
        shown.add_row(model.name, f"{latency_ms:g}", *scores)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Run one of SpectroStream's first experiments.")
    parser.add_argument("experiment", choices=[*VARIANTS, "bitrate"])
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--model", default="spectro-small", help="for bitrate: a name or a folder")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "spectrostream")
    parser.add_argument("--processes", type=int, default=2, help="that train, of one thread each")
    options = parser.parse_args()
    out = options.out / options.experiment
    if options.experiment == "bitrate":
        rates = ",".join(map(str, SWEEP))
        evaluate([f"{options.model}@{rates}", *PEERS], out, options)
    else:
        compare(VARIANTS[options.experiment], out, options)


if __name__ == "__main__":
    main()
