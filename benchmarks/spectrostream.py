"""Three experiments on SpectroStream (arXiv 2508.05207).

    python benchmarks/spectrostream.py fusion --corpus FOLDER  # level that joins the channels
    python benchmarks/spectrostream.py look-ahead --corpus FOLDER  # look-ahead of the decoder
    python benchmarks/spectrostream.py bitrate --corpus FOLDER [--model spectro-small]

The first two train a model for each variant (`experiments.py`); a KEY=VALUE changes the recipe, as
in `chirrup train`. The third scores a trained model, and draws its scores against the bitrate.
"""

from pathlib import Path

import numpy as np

from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.results import RESULTS, Results
from chirrup.evaluate.tables import lines
from experiments import ROOT, Experiment, compare, evaluate, parser
from shared import console

RECIPE = ROOT / "recipes" / "spectro-small-cpu.toml"
SHORT = (
    "stages.0.steps=500",
    "stages.1.steps=500",
    "stages.2.steps=2000",
    "stages.3.steps=0",
)
"""About an hour for each variant on two cores."""
RATES = (2750, 5250, 8000, 16_000)
SWEEP = (1000, 2750, 4000, 5250, 8000, 12_000, 16_000)
PEERS = ("opus@6k,9k,12k,16k,24k,32k", "vorbis@48k", "mp3@64k")
SCORES = ("visqol_audio", "mel_distance", "lsd", "snr", "ipd_error", "ild_error")
EXPERIMENTS = {
    "fusion": Experiment(
        RECIPE,
        {
            f"separate-{levels}": (f"model_changes.separate_levels={levels}",)
            for levels in (5, 6, 7)  # the paper: 6
        },
        SHORT,
        RATES,
        SCORES,
    ),
    "look-ahead": Experiment(
        RECIPE,
        {
            f"look-ahead-{40 * embeddings}ms": (f"model_changes.look_ahead_hops={4 * embeddings}",)
            for embeddings in range(4)  # the paper: 1
        },
        SHORT,
        RATES,
        SCORES,
    ),
}


def draw(results: Results, out: Path) -> None:
    """Draw every score against the actual bitrate, a line a codec."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(15, 8), layout="constrained")
    for name, axis in zip(SCORES, axes.flat, strict=True):
        for codec in dict.fromkeys(row.codec for row in results.rows):
            own = [row for row in results.rows if row.codec == codec]
            scored = [line for line in lines(own, SCORES) if line.cells[name] is not None]
            kbps = [line.kbps for line in scored]
            mean, low, high = np.array([line.cells[name] for line in scored]).reshape(-1, 3).T
            axis.plot(kbps, mean, "o-", label=own[0].label, linewidth=2 if own[0].ours else 1)
            axis.fill_between(kbps, low, high, alpha=0.1)
        axis.set_xscale("log")
        ticks = (1, 2, 4, 8, 16, 32, 64)
        axis.set_xticks(ticks, map(str, ticks))
        metric = METRICS[name]
        axis.set(title=f"{metric.label} ({metric.better} is better)", xlabel="kbit/s")
    axes.flat[0].legend()
    figure.savefig(out / "bitrate.png", dpi=70)
    console.print(f"plots: {out / 'bitrate.png'}")


def main() -> None:
    arguments = parser(
        "Run an experiment on SpectroStream.", "spectrostream", *EXPERIMENTS, "bitrate"
    )
    arguments.add_argument("--model", default="spectro-small", help="model for bitrate")
    options = arguments.parse_intermixed_args()
    out = options.out / options.experiment
    if options.experiment == "bitrate":
        rates = ",".join(map(str, SWEEP))
        evaluate([f"{options.model}@{rates}", *PEERS], SCORES, out, options.corpus / "music_test")
        draw(Results.read(out / RESULTS), out)
    else:
        compare(EXPERIMENTS[options.experiment], out, options)


if __name__ == "__main__":
    main()
