"""The scoreboard: runs what is missing, and writes docs/scoreboard.md and the tables of the README
and the models' cards from the results.

    python benchmarks/scoreboard.py [--board NAME ...] [--codec NAME ...] [--workers 2]
    python benchmarks/scoreboard.py --write  # only the pages, from docs/scoreboard/

Runs go on where they were stopped. The audio stays in runs/scoreboard/, with a report to listen to.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import re
import time
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from chirrup.codec import Codec
from chirrup.evaluate import board, conditions, tables
from chirrup.evaluate.board import Settings, System
from chirrup.evaluate.conditions import Condition
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import Model, find
from chirrup.evaluate.report import write_report
from chirrup.evaluate.results import Results, Row
from chirrup.evaluate.usage import usage
from chirrup.zoo import FOLDER, UNTRAINED, models

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scoreboard.md"
KEPT = ROOT / "docs" / "scoreboard"

SCORES = ("pesq_wb", "estoi", "visqol_speech", "dnsmos", "distillmos", "speaker_similarity", "lsd")


@dataclass(frozen=True)
class Board:
    """Systems with their bit/s, on one folder of the corpus, or those of its files whose names fit
    the pattern ``files``."""

    title: str
    folder: str
    systems: dict[str, tuple[int, ...]]
    metrics: tuple[str, ...]
    conditions: tuple[Condition, ...] = (Condition("clean"),)
    files: str = "*"


BOARDS = {
    "speech_test": Board(
        "Speech",
        "speech_test",
        {
            "iris-t1": (1000, 3000, 6000),
            "iris-t2": (1000, 6000),
            "lrac-t1": (1000, 6000),
            "lrac-t2": (1000, 6000),
            "focal-small": (800,),
            "codec2": (700, 1200, 3200),
            "speex-wb": (3950, 5750),
            "lyra2": (3200, 6000, 9200),
            "amr-wb": (6600, 12650),
            "opus": (6000, 9000, 12000, 16000),
        },
        SCORES,
    ),
    "speech_english": Board(
        "Words of English speech, of a speaker whom focal-small has not heard (iris-t1 has)",
        "speech_train",
        {
            "focal-small": (800,),
            "iris-t1": (1000,),
            "codec2": (700, 1200, 3200),
            "lyra2": (3200,),
            "opus": (6000,),
        },
        ("wer", "speaker_similarity", "distillmos", "dnsmos"),
        files="ljspeech__*",
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
        (Condition("denoise", -5), Condition("denoise", 5), Condition("dereverb")),
    ),
    "music_test": Board(
        "Music",
        "music_test",
        {
            "tq-small": (31_008, 62_016, 124_031),
            "opus": (32000, 64000, 96000, 128_000),
            "vorbis": (48000, 64000, 96000, 128_000),
            "mp3": (64000, 128000),
        },
        ("visqol_audio", "tq_lsd", "tq_lsd_low", "tq_lsd_high", "mel_distance", "snr"),
    ),
    "music_low": Board(
        "Stereo music at low bitrates",
        "music_test",
        {
            "spectro-small": (1000, 2750, 4000, 5250, 8000, 12_000, 16_000),
            "opus": (6000, 9000, 12_000, 16_000, 24_000, 32_000),
            "vorbis": (48_000,),
            "mp3": (64_000,),
        },
        ("visqol_audio", "mel_distance", "lsd", "snr", "ipd_error", "ild_error"),
    ),
}

TIMED = 5
"""Clips whose coding is timed."""
NOTED = {
    "speech_test": "pesq_wb",
    "music_test": "visqol_audio",
    "music_low": "visqol_audio",
}
"""Board and metric of what `chirrup models` says of a model's quality."""

EXPLAINED = {
    "noise": "Noise of noise_test at {:g} dB",
    "denoise": "Noise of noise_test at {:g} dB",
    "reverb": "A made room: noise that decays by 60 dB in 0.5 s",
    "dereverb": "A made room: noise that decays by 60 dB in 0.5 s",
}

CODES = """\
Our models: latency by count; CPU time to code and decode a channel, as a part of the audio's; the
codes of these clips. Where they are fewer than the entries of a book, not all of those
can be used, and entropy ends at the logarithm of their number.
"""

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

| system | kbps | UTMOS / WER / speaker similarity, % | on | source |
|---|---|---|---|---|
| FocalCodec-Stream | .55 | 3.88 / 4.63 / 96.1 | LibriSpeech test-clean | its authors' recipe |
| the same | .60 | 3.87 / 4.39 / 96.3 | | |
| the same | .80 | 3.85 / 3.68 / 97.0 | | |
| Mimi | .83 | 3.44 / 4.77 / 96.6 | LibriSpeech test-clean | ZipCodec's paper, table 2 |
| EnCodec | 1.5 | 1.58 / 8.08 / 93.8 | | |

| system | kbps | LSD / LSD-low / LSD-high | on | source |
|---|---|---|---|---|
| TQCodec | 32 | .822 / .757 / .949 | its authors' music | the paper |
| TQCodec | 64 | .772 / .647 / .950 | its authors' music | the paper |
| TQCodec | 128 | .672 / .517 / .952 | its authors' music | the paper |
| TQCodec | 43 | - / .718 / .954 | the same, SNR 16.1 dB | the paper |
| TQCodec, subbands | 43 | - / .702 / 1.163 | the same, SNR 16.9 dB | the paper |
| Vorbis | 48 | - / .763 / 2.847 | the same, SNR 17.0 dB | the paper |

| system | kbps | ViSQOL audio | on | source |
|---|---|---|---|---|
| SpectroStream | 2.7 / 5.3 / 8 | 3.21 / 3.83 / 4.00 | MUSDB18 | the paper |
| DAC | 2.7 / 5.3 / 8 | 1.47 / 2.41 / 3.33 | MUSDB18 | SpectroStream's paper |
"""


def run(name: str, corpus: Path, workers: int, codecs: list[str]) -> Results:
    """Evaluate one board with what is installed of ``codecs``."""
    of = BOARDS[name]
    console = Console(stderr=True)
    installed = []
    for codec in codecs:
        rates = of.systems[codec]
        if codec in models():
            lack = None
        else:
            lack = "it has no weights yet" if codec in UNTRAINED else find(codec).missing()
        if lack:
            console.print(f"{codec} is left out: {lack}")
        else:
            installed += [System(codec, rate) for rate in rates]
    clips = [path for path in board.audio_files(corpus / of.folder) if path.match(of.files)]
    settings = Settings(
        clips=tuple(clips),
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
    results.run["models"] = {
        f"{system.codec}-{system.bitrate_bps}": facts(peer, system.bitrate_bps, settings.clips)
        for system in installed
        if isinstance(peer := find(system.codec), Model)
    }
    write_report(results, folder, folder / "report.html", {m: METRICS[m] for m in of.metrics})
    return results


def facts(model: Model, bitrate_bps: int, clips: tuple[Path, ...]) -> dict[str, Any]:
    """Latency of a model, and use of its codes."""
    codec = model.codec
    signals = (conditions.read(clip, codec.input_rate_hz, mono=True)[0][0] for clip in clips)
    return {
        "latency_ms": 1000 * codec.latency_samples / codec.sample_rate_hz,
        "real_time_factor": real_time_factor(codec, bitrate_bps, clips[:TIMED]),
        **asdict(usage(codec, signals, bitrate_bps)),
    }


def real_time_factor(codec: Codec, bitrate_bps: int, clips: tuple[Path, ...]) -> float:
    """CPU time to code and decode on one thread, as a part of the audio's."""
    spent = seconds = 0.0
    for clip in clips:
        signal = conditions.read(clip, codec.input_rate_hz, mono=True)[0][0]
        codec.decode(codec.encode(signal[: codec.input_rate_hz // 10], bitrate_bps))  # warm
        start = time.process_time()
        codec.decode(codec.encode(signal, bitrate_bps))
        spent += time.process_time() - start
        seconds += len(signal) / codec.input_rate_hz
    return spent / seconds


def models_table(rows: list[Row], about: dict[str, dict[str, Any]]) -> str:
    """What `facts` found."""
    text = [
        "| model | latency, ms | real-time factor | codes a book | entries used, % | "
        "entropy of a code, bits |",
        f"|{'--|' * 6}",
    ]
    for system, known in about.items():
        title = next(row.title for row in rows if row.system == system)
        text.append(
            f"| {title} | {known['latency_ms']:.3g} | {known['real_time_factor']:.3f} | "
            f"{known['codes']} | "
            f"{known['used_percent']:.1f} | {known['entropy_bits']:.2f} of "
            f"{known['bits_per_code']} |"
        )
    return "\n".join(text) + "\n"


def among(kept: Results, fresh: Results) -> Results:
    """What is kept, with ``fresh`` in the place of all rows of the same codecs."""
    codecs = {row.codec for row in fresh.rows}
    rows = [*(row for row in kept.rows if row.codec not in codecs), *fresh.rows]
    systems = {row.system for row in rows}
    facts = kept.run.get("models", {}) | fresh.run["models"]
    models = {system: known for system, known in facts.items() if system in systems}
    return Results(fresh.run | {"models": models}, rows)


def compact(results: Results) -> Results:
    """Rounded, so that the file in the repository stays small."""
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


def page(boards: dict[str, Results]) -> str:
    text = [
        "# Scoreboard\n",
        "Written by `benchmarks/scoreboard.py` from `docs/scoreboard/`; do not edit.\n",
        "Means over the clips, in brackets the 95 % interval from a bootstrap over speakers. "
        "Codecs are sorted by the bitrate they really used, containers left out: of ours that is "
        "the codes, of the others their packets. A live packet of ours adds a byte, and fills up "
        "its last one: 1 kbps is 1.1 in packets of four frames, 1.6 in packets of one. Ours are in "
        "bold. "
        "Objective scores are no listening test.\n",
    ]
    for name, results in boards.items():
        run, of = results.run, BOARDS[name]
        metrics = {m: METRICS[m] for m in of.metrics}
        text.append(
            f"## {of.title}: {run['clips']} clips of {run['speakers']} speakers or tracks "
            f"({of.folder}{'' if of.files == '*' else '/' + of.files})\n"
        )
        for condition in of.conditions:
            rows = [row for row in results.rows if row.condition == condition.name]
            if not rows:
                continue
            if condition.kind in EXPLAINED:
                text.append(f"### {EXPLAINED[condition.kind].format(condition.value)}\n")
            text.append(tables.markdown(rows, metrics))
            text += [f"- {line}" for line in tables.differences(rows, metrics[of.metrics[0]])]
            if any(row.ours for row in rows):
                text.append("")
        if about := run.get("models"):
            clean = [row for row in results.rows if row.condition == of.conditions[0].name]
            text += [CODES, models_table(clean, about)]
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


def note(model: str, clips: str, metric: str, results: Results) -> None:
    """Keep a score in ``model.json``, for ``chirrup models``, at bitrates it was trained for."""
    path = FOLDER / model / "model.json"
    about = json.loads(path.read_text())
    lowest_bps = about.get("lowest_bitrate_bps", 0)
    scores: dict[int, list[float]] = {}
    for row in results.rows:
        score = row.scores.get(metric)
        if row.codec == model and row.bitrate_bps >= lowest_bps and score is not None:
            scores.setdefault(row.bitrate_bps, []).append(score)
    if not scores:
        return
    about["training"]["scores"] = {
        "clips": f"{results.run['clips']} of {clips}",
        metric: {
            f"{rate / 1000:.3g}_kbps": round(sum(of_rate) / len(of_rate), 2)
            for rate, of_rate in sorted(scores.items())
        },
    }
    path.write_text(json.dumps(about, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the scoreboard and write its page.")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--board", action="append", choices=BOARDS, help="only these")
    known = sorted({codec for of in BOARDS.values() for codec in of.systems})
    parser.add_argument(
        "--codec",
        action="append",
        choices=known,
        help="only these; what is kept of the others stays",
    )
    parser.add_argument(
        "--write", action="store_true", help="only the pages, from docs/scoreboard/"
    )
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if not options.write:
        for name in options.board or BOARDS:
            path, every = KEPT / f"{name}.jsonl", list(BOARDS[name].systems)
            codecs = [codec for codec in every if codec in (options.codec or every)]
            if not codecs:
                continue
            results = compact(run(name, options.corpus, options.workers, codecs))
            if options.codec and path.exists():
                results = among(Results.read(path), results)
            results.write(path)
    kept = {
        name: Results.read(path) for name in BOARDS if (path := KEPT / f"{name}.jsonl").exists()
    }
    PAGE.write_text(page(kept))
    for name, (of, metric) in product(models(), NOTED.items()):
        if of in kept:
            note(name, of, metric, kept[of])
    for text in (ROOT / "README.md", *FOLDER.glob("*/README.md")):
        fill(text, kept)


if __name__ == "__main__":
    main()
