"""The scoreboard: runs what is missing, and writes docs/scoreboard.md from the results.

    python benchmarks/scoreboard.py [--corpus ../shared/corpus] [--workers 2]
    python benchmarks/scoreboard.py --write  # only the page, from docs/scoreboard/

Runs go on where they were stopped. The audio stays in runs/scoreboard/, with a report to listen to.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from chirrup.evaluate import board, tables
from chirrup.evaluate.board import Settings, System
from chirrup.evaluate.conditions import Condition
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import find
from chirrup.evaluate.report import write_report
from chirrup.evaluate.results import Results
from chirrup.zoo import models

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scoreboard.md"
KEPT = ROOT / "docs" / "scoreboard"

SPEECH = {
    "iris-t1": (1000, 3000, 6000),
    "codec2": (700, 1200, 3200),
    "speex-wb": (3950, 5750),
    "lyra2": (3200, 6000, 9200),
    "amr-wb": (6600, 12650),
    "opus": (6000, 9000, 12000, 16000),
}
MUSIC = {
    "opus": (32000, 64000, 96000),
    "vorbis": (48000, 64000, 96000),
    "mp3": (64000, 128000),
}
BOARDS = {
    "speech_test": (
        SPEECH,
        (
            "pesq_wb",
            "estoi",
            "visqol_speech",
            "dnsmos",
            "distillmos",
            "speaker_similarity",
            "lsd",
        ),
    ),
    "music_test": (MUSIC, ("visqol_audio", "lsd", "lsd_low", "lsd_high", "mel_distance", "snr")),
}

PAPERS = """\
| system | kbps | PESQ-wb | on | source |
|---|---|---|---|---|
| IRIS, track 1 | 1 / 6 | 2.00 / 3.56 | LRAC 2025 test set, clean | the poster |
| LRAC baseline, track 1 | 1 / 6 | 1.15 / 2.67 | LRAC 2025 test set, clean | LRAC's paper |

| system | kbps | LSD / LSD-low / LSD-high | on | source |
|---|---|---|---|---|
| TQCodec | 32 | .822 / .757 / .949 | its authors' music | the paper |
| TQCodec | 64 | .772 / .647 / .950 | its authors' music | the paper |
| TQCodec | 128 | .672 / .517 / .952 | its authors' music | the paper |
"""


def run(name: str, corpus: Path, workers: int) -> Results:
    """Evaluate one folder of the corpus with what is installed."""
    systems, metrics = BOARDS[name]
    console = Console(stderr=True)
    installed = []
    for codec, rates in systems.items():
        if codec not in models() and (lack := find(codec).missing()):
            console.print(f"{codec} is left out: {lack}")
        else:
            installed += [System(codec, rate) for rate in rates]
    settings = Settings(
        clips=board.audio_files(corpus / name),
        systems=tuple(installed),
        conditions=(Condition("clean"),),
        metrics=metrics,
        workers=workers,
    )
    folder = ROOT / "runs" / "scoreboard" / name

    def progress(done: int, total: int, what: str) -> None:
        console.print(f"{name} {done}/{total} {what}")

    results = board.evaluate(settings, folder, progress=progress)
    write_report(results, folder, folder / "report.html", {m: METRICS[m] for m in metrics})
    return results


def compact(results: Results) -> Results:
    """Rounded, so that the file in the repository stays small."""
    rows = [
        replace(
            row,
            encode_seconds=round(row.encode_seconds, 3),
            decode_seconds=round(row.decode_seconds, 3),
            scores={
                name: None if value is None else round(value, 4)
                for name, value in row.scores.items()
            },
        )
        for row in results.rows
    ]
    return Results(results.run, rows)


def page(boards: dict[str, Results]) -> str:
    text = [
        "# Scoreboard\n",
        "Written by `benchmarks/scoreboard.py` from `docs/scoreboard/`; do not edit.\n",
        "Means over the clips, in brackets the 95 % interval from a bootstrap over speakers. "
        "Codecs are sorted by the bitrate they really used, containers left out. Ours are in bold. "
        "Objective scores are no listening test.\n",
    ]
    for name, results in boards.items():
        run, rows = results.run, results.rows
        metrics = {m: METRICS[m] for m in run["metrics"]}
        text.append(f"## {name}: {run['clips']} clips of {run['speakers']} speakers or tracks\n")
        text.append(tables.markdown(rows, metrics))
        first = next(iter(metrics.values()))
        text += [f"- {line}" for line in tables.differences(rows, first)]
        if any(row.ours for row in rows):
            text.append("")
        versions = ", ".join(f"{key} {value}" for key, value in run["versions"].items())
        text.append(f"{run['created'][:10]}; {versions}.\n")
    text += [
        "## What the papers say\n",
        "Their own numbers, on their own clips: not to be compared with the tables above to the "
        "second digit.\n",
        PAPERS,
    ]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the scoreboard and write its page.")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="only the page, from docs/scoreboard/")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if not options.write:
        for name in BOARDS:
            compact(run(name, options.corpus, options.workers)).write(KEPT / f"{name}.jsonl")
    kept = {
        name: Results.read(path) for name in BOARDS if (path := KEPT / f"{name}.jsonl").exists()
    }
    PAGE.write_text(page(kept))


if __name__ == "__main__":
    main()
