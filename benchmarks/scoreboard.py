"""The scoreboard: runs what is missing, and writes docs/scoreboard.md and the tables of the README
and the models' cards from the results.

    python benchmarks/scoreboard.py [--corpus ../shared/corpus] [--workers 2]
    python benchmarks/scoreboard.py --write  # only the pages, from docs/scoreboard/

Runs go on where they were stopped. The audio stays in runs/scoreboard/, with a report to listen to.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from chirrup.evaluate import board, tables
from chirrup.evaluate.board import Settings, System
from chirrup.evaluate.conditions import Condition
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import find
from chirrup.evaluate.report import write_report
from chirrup.evaluate.results import Results
from chirrup.zoo import FOLDER, UNTRAINED, models

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scoreboard.md"
KEPT = ROOT / "docs" / "scoreboard"

SCORES = ("pesq_wb", "estoi", "visqol_speech", "dnsmos", "distillmos", "speaker_similarity", "lsd")


@dataclass(frozen=True)
class Board:
    """Systems with their bit/s, on one folder of the corpus."""

    title: str
    folder: str
    systems: dict[str, tuple[int, ...]]
    metrics: tuple[str, ...]
    conditions: tuple[Condition, ...] = (Condition("clean"),)


BOARDS = {
    "speech_test": Board(
        "Speech",
        "speech_test",
        {
            "iris-t1": (1000, 3000, 6000),
            "iris-t2": (1000, 6000),
            "lrac-t1": (1000, 6000),
            "lrac-t2": (1000, 6000),
            "codec2": (700, 1200, 3200),
            "speex-wb": (3950, 5750),
            "lyra2": (3200, 6000, 9200),
            "amr-wb": (6600, 12650),
            "opus": (6000, 9000, 12000, 16000),
        },
        SCORES,
    ),
    "speech_in_noise": Board(
        "Speech in noise and rooms, to be kept as it is",
        "speech_test",
        {"iris-t1": (1000, 6000), "lrac-t1": (1000, 6000), "opus": (6000,)},
        ("pesq_wb", "estoi", "distillmos"),
        (Condition("noise", 15), Condition("reverb")),
    ),
    "speech_enhanced": Board(
        "Speech without its noise and rooms, against clean speech",
        "speech_test",
        {"pcm": (768000,), "iris-t2": (1000, 6000), "lrac-t2": (1000, 6000), "opus": (6000,)},
        ("pesq_wb", "estoi", "si_sdr", "dnsmos", "distillmos"),
        (Condition("denoise", 5), Condition("dereverb")),
    ),
    "music_test": Board(
        "Music",
        "music_test",
        {
            "opus": (32000, 64000, 96000),
            "vorbis": (48000, 64000, 96000),
            "mp3": (64000, 128000),
        },
        ("visqol_audio", "lsd", "lsd_low", "lsd_high", "mel_distance", "snr"),
    ),
}

EXPLAINED = {
    "noise": "Noise of noise_test at {:g} dB",
    "denoise": "Noise of noise_test at {:g} dB",
    "reverb": "A made room: noise that decays by 60 dB in 0.5 s",
    "dereverb": "A made room: noise that decays by 60 dB in 0.5 s",
}

PAPERS = """\
| system | kbps | PESQ-wb | on | source |
|---|---|---|---|---|
| IRIS, track 1 | 1 / 6 | 2.00 / 3.56 | LRAC 2025 test set, clean | the poster |
| LRAC baseline, track 1 | 1 / 6 | 1.15 / 2.67 | LRAC 2025 test set, clean | LRAC's paper, table 4 |
| the same | 1 / 6 | 1.11 / 1.81 | noisy | |
| the same | 1 / 6 | 1.07 / 1.18 | reverberant | |
| LRAC baseline, track 2 | 1 / 6 | 1.21 / 2.13 | LRAC 2025 test set, clean | LRAC's paper, table 5 |
| the same | 1 / 6 | 1.18 / 1.73 | noisy | |
| the same | 1 / 6 | 1.15 / 1.29 | reverberant | |

| system | kbps | LSD / LSD-low / LSD-high | on | source |
|---|---|---|---|---|
| TQCodec | 32 | .822 / .757 / .949 | its authors' music | the paper |
| TQCodec | 64 | .772 / .647 / .950 | its authors' music | the paper |
| TQCodec | 128 | .672 / .517 / .952 | its authors' music | the paper |
"""


def run(name: str, corpus: Path, workers: int) -> Results:
    """Evaluate one board with what is installed."""
    of = BOARDS[name]
    console = Console(stderr=True)
    installed = []
    for codec, rates in of.systems.items():
        if codec in models():
            lack = None
        else:
            lack = "it has no weights yet" if codec in UNTRAINED else find(codec).missing()
        if lack:
            console.print(f"{codec} is left out: {lack}")
        else:
            installed += [System(codec, rate) for rate in rates]
    settings = Settings(
        clips=board.audio_files(corpus / of.folder),
        systems=tuple(installed),
        conditions=of.conditions,
        metrics=of.metrics,
        noises=board.audio_files(corpus / "noise_test"),
        workers=workers,
    )
    folder = ROOT / "runs" / "scoreboard" / name

    def progress(done: int, total: int, what: str) -> None:
        console.print(f"{name} {done}/{total} {what}")

    results = board.evaluate(settings, folder, progress=progress)
    write_report(results, folder, folder / "report.html", {m: METRICS[m] for m in of.metrics})
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
        run, of = results.run, BOARDS[name]
        metrics = {m: METRICS[m] for m in of.metrics}
        text.append(
            f"## {of.title}: {run['clips']} clips of {run['speakers']} speakers or tracks "
            f"({of.folder})\n"
        )
        for condition in of.conditions:
            rows = [row for row in results.rows if row.condition == condition.name]
            if condition.kind in EXPLAINED:
                text.append(f"### {EXPLAINED[condition.kind].format(condition.value)}\n")
            text.append(tables.markdown(rows, metrics))
            text += [f"- {line}" for line in tables.differences(rows, metrics[of.metrics[0]])]
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


def fill(page: Path, boards: dict[str, Results]) -> None:
    """Write the tables that a page asks for, between its marks.

    A mark is ``<!-- scores {"board": ..., "condition": ..., "systems": ["iris-t1-6000", ...],
    "metrics": [...], "intervals": ..., "differences": [metrics, ...]} -->``.
    """

    def table(mark: re.Match[str]) -> str:
        wish = json.loads(mark[1])
        rows = [
            row
            for row in boards[wish["board"]].rows
            if row.condition == wish["condition"] and row.system in wish["systems"]
        ]
        metrics = {name: METRICS[name] for name in wish["metrics"]}
        text = tables.markdown(rows, metrics, intervals=wish["intervals"])
        compared = [tables.differences(rows, METRICS[name]) for name in wish["differences"]]
        if compared:
            text += "".join(f"\n- {line}" for lines in compared for line in lines) + "\n"
        return f"<!-- scores {mark[1]} -->\n{text}<!-- end of scores -->"

    marked = r"<!-- scores (\{.*?\}) -->.*?<!-- end of scores -->"
    page.write_text(re.sub(marked, table, page.read_text(), flags=re.DOTALL))


def note(model: str, results: Results) -> None:
    """Keep PESQ on clean speech in ``model.json``, for ``chirrup models``."""
    scores: dict[int, list[float]] = {}
    for row in results.rows:
        if row.codec == model and (score := row.scores.get("pesq_wb")) is not None:
            scores.setdefault(row.bitrate_bps, []).append(score)
    if not scores:
        return
    path = FOLDER / model / "model.json"
    about = json.loads(path.read_text())
    about["training"]["scores"] = {
        "clips": f"{results.run['clips']} of speech_test",
        "pesq_wb": {
            f"{rate / 1000:g}_kbps": round(sum(of_rate) / len(of_rate), 2)
            for rate, of_rate in sorted(scores.items())
        },
    }
    path.write_text(json.dumps(about, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the scoreboard and write its page.")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--write", action="store_true", help="only the pages, from docs/scoreboard/"
    )
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if not options.write:
        for name in BOARDS:
            compact(run(name, options.corpus, options.workers)).write(KEPT / f"{name}.jsonl")
    kept = {
        name: Results.read(path) for name in BOARDS if (path := KEPT / f"{name}.jsonl").exists()
    }
    PAGE.write_text(page(kept))
    for name in models():
        note(name, kept["speech_test"])
    for text in (ROOT / "README.md", *FOLDER.glob("*/README.md")):
        fill(text, kept)


if __name__ == "__main__":
    main()
