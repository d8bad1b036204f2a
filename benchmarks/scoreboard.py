"""Run the missing codecs of the scoreboard, and write its page and the tables of README and cards.

The page is docs/reference/scoreboard.md.

    python benchmarks/scoreboard.py --corpus FOLDER [--board NAME ...] [--codec NAME ...]
    python benchmarks/scoreboard.py --corpus FOLDER --speed  # only the speed of the models, again
    python benchmarks/scoreboard.py --write  # only the pages, from docs/reference/scoreboard/

If a run was stopped, it continues. Audio and reports are in runs/scoreboard/.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import pages
import pictures
from boards import BOARDS
from chirrup.codec import Codec
from chirrup.data.manifest import languages
from chirrup.evaluate.clips import audio_files, read_clip
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import ModelPeer, find
from chirrup.evaluate.report import write_report
from chirrup.evaluate.results import Results
from chirrup.evaluate.run import Settings, System, evaluate
from chirrup.evaluate.usage import usage
from chirrup.zoo import UNTRAINED, models
from shared import processor

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "reference" / "scoreboard"

TIMED = 5
"""Number of clips whose coding is timed."""


def run(name: str, corpus: Path, workers: int, codecs: list[str]) -> Results:
    """Evaluate one board with the installed ones of ``codecs``."""
    board = BOARDS[name]
    console = Console(stderr=True)
    installed = []
    for codec in codecs:
        rates = board.systems[codec]
        if codec in models():
            lack = None
        else:
            lack = "it has no weights yet" if codec in UNTRAINED else find(codec).missing()
        if lack:
            console.print(f"{codec} is left out: {lack}")
        else:
            installed += [System(codec, rate) for rate in rates]
    clips = clips_of(name, corpus)
    settings = Settings(
        clips=tuple(clips),
        systems=tuple(installed),
        conditions=board.conditions,
        metrics=board.metrics,
        noises=audio_files(corpus / "noise_test"),
        languages=languages(clips),
        workers=workers,
    )
    folder = ROOT / "runs" / "scoreboard" / name

    def progress(done: int, total: int, what: str) -> None:
        console.print(f"{name} {done}/{total} {what}")

    results = evaluate(settings, folder, progress=progress)
    results.run["models"] = {
        f"{system.codec}-{system.bitrate_bps}": facts(peer, system.bitrate_bps, clips)
        for system in installed
        if isinstance(peer := find(system.codec), ModelPeer)
    }
    write_report(results, folder, folder / "report.html", {m: METRICS[m] for m in board.metrics})
    return results


def clips_of(board: str, corpus: Path) -> list[Path]:
    """Return the clips of a board."""
    folder, files = BOARDS[board].folder, BOARDS[board].files
    return [path for path in audio_files(corpus / folder) if path.match(files)]


def measure_speed(kept: Results, clips: list[Path]) -> None:
    """Measure the real-time factors of all models, so that they come from one run."""
    kept.run["timed_on"] = processor()
    for system, known in kept.run["models"].items():
        codec, _, rate = system.rpartition("-")
        if isinstance(peer := find(codec), ModelPeer):
            known["real_time_factor"] = real_time_factor(
                peer.codec, int(rate), tuple(clips[:TIMED])
            )


def facts(model: ModelPeer, bitrate_bps: int, clips: list[Path]) -> dict[str, Any]:
    """Measure the latency and the codebook usage of a model."""
    codec = model.codec
    signals = (read_clip(clip, codec.input_rate_hz, mono=True)[0][0] for clip in clips)
    return {
        "latency_ms": 1000 * codec.latency_samples / codec.sample_rate_hz,
        **asdict(usage(codec, signals, bitrate_bps)),
    }


def real_time_factor(codec: Codec, bitrate_bps: int, clips: tuple[Path, ...]) -> float:
    """Return the CPU time to encode and decode on one thread, relative to the duration."""
    spent = seconds = 0.0
    for clip in clips:
        signal = read_clip(clip, codec.input_rate_hz, mono=True)[0][0]
        codec.decode(codec.encode(signal[: codec.input_rate_hz // 10], bitrate_bps))  # warm
        start = time.process_time()
        codec.decode(codec.encode(signal, bitrate_bps))
        spent += time.process_time() - start
        seconds += len(signal) / codec.input_rate_hz
    return spent / seconds


def among(kept: Results, fresh: Results) -> Results:
    """Merge stored results with ``fresh`` ones, which replace all rows of the same codecs."""
    codecs = {row.codec for row in fresh.rows}
    rows = [*(row for row in kept.rows if row.codec not in codecs), *fresh.rows]
    systems = {row.system for row in rows}
    facts = kept.run.get("models", {}) | fresh.run["models"]
    models = {system: known for system, known in facts.items() if system in systems}
    return Results(fresh.run | {"models": models}, rows)


def compact(results: Results) -> Results:
    """Round the results, so that the file in the repository stays small."""
    rows = [
        replace(
            row,
            source="",
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the scoreboard and write its page.")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--board", action="append", choices=BOARDS, help="run only this board")
    known = sorted({codec for of in BOARDS.values() for codec in of.systems})
    parser.add_argument(
        "--codec",
        action="append",
        choices=known,
        help="run only this codec, and keep the stored results of the others",
    )
    parser.add_argument(
        "--write", action="store_true", help="only the pages, from docs/reference/scoreboard/"
    )
    parser.add_argument("--speed", action="store_true", help="only time the models again")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if not options.write:
        if options.corpus is None:
            parser.error("give --corpus FOLDER, or --write")
        for name in options.board or BOARDS:
            path, every = KEPT / f"{name}.jsonl", list(BOARDS[name].systems)
            codecs = [codec for codec in every if codec in (options.codec or every)]
            if not codecs:
                continue
            if options.speed:
                results = Results.read(path)
            else:
                results = compact(run(name, options.corpus, options.workers, codecs))
                if options.codec and path.exists():
                    results = among(Results.read(path), results)
            measure_speed(results, clips_of(name, options.corpus))
            results.write(path)
    kept = {
        name: Results.read(path) for name in BOARDS if (path := KEPT / f"{name}.jsonl").exists()
    }
    pages.write(kept)
    pictures.quality(kept["speech_test"])


if __name__ == "__main__":
    main()
