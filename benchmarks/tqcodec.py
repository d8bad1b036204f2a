"""Two experiments on TQCodec (arXiv 2603.01592): the path of table 3 from EnCodec, and stereo.

    python benchmarks/tqcodec.py path --corpus FOLDER  # trains a model for each step
    python benchmarks/tqcodec.py mid-side --corpus FOLDER  # compares mid and side with left and
    right

A KEY=VALUE changes the recipe, as in `chirrup train`.
"""

from pathlib import Path

import numpy as np

import chirrup
from chirrup.evaluate.clips import audio_files, read_clip
from chirrup.evaluate.metrics import METRICS, score
from chirrup.files.stereo import left_right, mid_side
from experiments import ROOT, Experiment, compare, parser
from shared import console, table

NO_PHASES = tuple(
    f"stages.{stage}.weights.{term}=0" for stage in (0, 1) for term in ("waveform", "complex")
)
BIG_ENCODER = "model_changes.encoder_dim=32"
RATES = (31_008, 62_016, 124_031)
"""Bitrates of a channel with 5, 10 and 20 codebooks."""
SCORES = ("visqol_audio", "tq_lsd", "tq_lsd_low", "tq_lsd_high", "mel_distance", "snr")
WAYS = ("left, right", np.asarray, np.asarray), ("mid, side", mid_side, left_right)
PATH = Experiment(
    ROOT / "recipes" / "tq-small-cpu.toml",
    {
        "rvq": ("model_changes.quantizer=rvq", *NO_PHASES),
        "simvq": NO_PHASES,
        "waveform": (),
        "imbalanced": (BIG_ENCODER,),
        "subbands": (BIG_ENCODER, "model_changes.upper_dim=4"),
    },
    ("stages.0.steps=600", "stages.1.steps=1200", "stages.2.steps=0"),
    RATES,
    SCORES,
)
"""Each variant adds a change to the one before. A step of the first three takes 0.27 s on two free
cores."""


def two_channels(model: str, corpus: Path) -> None:
    """Score the clips at equal bitrates, coded as left and right, and as mid and side."""
    codec = chirrup.load(model)
    every = audio_files(corpus / "music_test")
    clips = [read_clip(clip, codec.sample_rate_hz)[0] for clip in every]
    clips = [clip for clip in clips if len(clip) == 2]
    headings = [f"{METRICS[name].label} ({METRICS[name].better})" for name in SCORES]
    shown = table(f"{codec.name}, means of {len(clips)} clips", "two channels, kbps", *headings)
    for rate_bps in RATES:
        for name, there, back in WAYS:
            decoded = [back(codec.decode(codec.encode(there(clip), rate_bps))) for clip in clips]
            means = [mean_score(metric, clips, decoded, codec.sample_rate_hz) for metric in SCORES]
            cells = [f"{mean:.{METRICS[metric].digits}f}" for metric, mean in zip(SCORES, means)]
            shown.add_row(f"{2 * rate_bps / 1000:.0f}, {name}", *cells)
    console.print(shown)


def mean_score(
    metric: str, clips: list[np.ndarray], decoded: list[np.ndarray], rate_hz: int
) -> float:
    """Return the mean over the clips that have a score."""
    every = [score(metric, *pair, rate_hz) for pair in zip(clips, decoded)]
    return float(np.mean([value for value in every if value is not None]))


def main() -> None:
    arguments = parser("Run an experiment on TQCodec.", "tqcodec", "path", "mid-side")
    arguments.add_argument("--model", default="tq-small", help="model for mid-side")
    options = arguments.parse_intermixed_args()
    if options.experiment == "mid-side":
        two_channels(options.model, options.corpus)
    else:
        compare(PATH, options.out / "path", options)


if __name__ == "__main__":
    main()
