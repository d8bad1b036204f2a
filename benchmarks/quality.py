"""Objective quality of a model next to Opus and Codec2 at similar bitrates, on the same clips.

What the numbers mean is in README.md beside this file.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr
from pesq import NoUtterancesError, pesq
from pystoi import stoi
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import butter, correlate, hilbert, sosfiltfilt

from coders import PEERS, RATE, System, models
from shared import console

METRICS = {"kbps": ".2f", "PESQ-wb": ".2f", "ESTOI": ".3f", "LSD dB": ".1f", "SNR dB": ".1f"}
MAX_DELAY = RATE // 10
FINE_DELAY = RATE // 1000
Results = dict[str, dict[str, list[float]]]
"""For each system, for each metric, a value a clip; and the one delay that was removed."""


def read(path: Path) -> np.ndarray:
    """A clip, mono, at RATE."""
    audio, rate = soundfile.read(path, always_2d=True)
    return audio.mean(axis=1) if rate == RATE else soxr.resample(audio.mean(axis=1), rate, RATE)


def code(system: System, clip: Path, out: Path) -> float:
    """Code and decode a clip into ``out``; returns kbit/s."""
    audio = read(clip)
    with tempfile.TemporaryDirectory() as folder:
        decoded, size = system.code(audio, Path(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(out, decoded, RATE, subtype="FLOAT")
    return size * 8 / len(audio) * RATE / 1000


# --- delay ---------------------------------------------------------------------------------------


def correlations(clip: Path, decoded: Path) -> np.ndarray:
    """Of the envelopes and of the waveforms, at delays from -MAX_DELAY to MAX_DELAY."""
    a, b = moved(read(clip), soundfile.read(decoded)[0], 0)
    return np.stack([correlation(envelope(a), envelope(b)), correlation(a, b)])


def envelope(audio: np.ndarray) -> np.ndarray:
    """Loudness over time: what a vocoder keeps, though its waveform is another one."""
    low = butter(2, 60, fs=RATE, output="sos")
    smooth = sosfiltfilt(low, np.abs(np.asarray(hilbert(audio))))
    loudness = np.sqrt(np.maximum(smooth, 1e-5))
    return loudness - loudness.mean()


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    around = correlate(b, a, method="fft")[len(a) - 1 - MAX_DELAY : len(a) + MAX_DELAY]
    return around / np.sqrt(np.square(a).sum() * np.square(b).sum() + 1e-12)


def peak(sums: np.ndarray) -> int:
    """The delay in samples: where the envelopes agree best, then the waveforms within 1 ms."""
    start = max(0, int(sums[0].argmax()) - FINE_DELAY)
    return start + int(sums[1][start : start + 2 * FINE_DELAY + 1].argmax()) - MAX_DELAY


def moved(clip: np.ndarray, decoded: np.ndarray, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """The decoded audio ``delay`` samples earlier, cut or padded with silence to the clip."""
    earlier = decoded[delay:] if delay >= 0 else np.pad(decoded, (-delay, 0))
    return clip, np.pad(earlier, (0, max(0, len(clip) - len(earlier))))[: len(clip)]


# --- scores --------------------------------------------------------------------------------------


def score(clip: Path, decoded: Path, delay: int) -> dict[str, float]:
    a, b = moved(read(clip), soundfile.read(decoded)[0], delay)
    a16, b16 = soxr.resample(a, RATE, 16_000), soxr.resample(b, RATE, 16_000)
    try:
        mos = float(pesq(16_000, a16, b16, "wb"))
    except NoUtterancesError:
        mos = float("nan")
    return {
        "PESQ-wb": mos,
        "ESTOI": float(stoi(a16, b16, 16_000, extended=True)),
        "LSD dB": log_spectral_distance(a, b),
        "SNR dB": float(10 * np.log10(np.square(a).sum() / (np.square(a - b).sum() + 1e-12))),
    }


def log_spectral_distance(a: np.ndarray, b: np.ndarray) -> float:
    """0 to 12 kHz, 1024 samples a window, floor 80 dB below the clip's loudest bin."""
    windows = np.lib.stride_tricks.sliding_window_view
    x, y = (np.abs(np.fft.rfft(windows(z, 1024)[::256] * np.hanning(1024))) for z in (a, b))
    floor = x.max() * 1e-4 + 1e-12
    difference = 20 * np.log10(np.maximum(x, floor) / np.maximum(y, floor))
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def interval(values: np.ndarray, speakers: Sequence[str]) -> tuple[float, float, float]:
    """Mean, and its 95 % interval by drawing speakers, not clips, anew 5000 times."""
    names, use = np.array(speakers), ~np.isnan(values)
    each = [values[use & (names == name)] for name in sorted(set(names[use]))]
    sums, counts = np.array([part.sum() for part in each]), np.array([len(part) for part in each])
    drawn = np.random.default_rng(0).integers(len(each), size=(5000, len(each)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(np.nanmean(values)), float(low), float(high)


# --- the run -------------------------------------------------------------------------------------


def measure(systems: list[System], clips: list[Path], folder: Path, workers: int) -> Results:
    spawn = multiprocessing.get_context("spawn")
    results: Results = {}
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for system in track(systems, "coding and scoring", console=Console(stderr=True)):
            outs = [folder / system.name.replace(" ", "-") / f"{clip.stem}.wav" for clip in clips]
            kbps = list(pool.map(code, [system] * len(clips), clips, outs))
            delay = peak(np.sum(list(pool.map(correlations, clips, outs)), axis=0))
            scores = list(pool.map(score, clips, outs, [delay] * len(clips)))
            results[system.name] = {"kbps": kbps, "delay ms": [delay / RATE * 1000]} | {
                metric: [row[metric] for row in scores] for metric in scores[0]
            }
    return results


def show(results: Results, systems: list[System], speakers: list[str]) -> None:
    table = Table(title=f"{len(speakers)} clips of {len(set(speakers))} speakers; mean, 95 %")
    for heading in ("", *METRICS, "delay, ms"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, values in results.items():
        cells = []
        for metric, form in METRICS.items():
            mean, low, high = interval(np.array(values[metric]), speakers)
            span = "" if metric == "kbps" else f" ({low:{form}} to {high:{form}})"
            cells.append(f"{mean:{form}}{span}")
        table.add_row(name, *cells, f"{values['delay ms'][0]:.1f}")
    console.print(table)
    peers = [system for system in systems if system.tools]
    for system in systems if peers else []:
        if not system.tools:
            peer = min(peers, key=lambda other: abs(other.kbps - system.kbps))
            gain = np.subtract(results[system.name]["PESQ-wb"], results[peer.name]["PESQ-wb"])
            mean, low, high = interval(gain, speakers)
            line = f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
            console.print(f"PESQ-wb of {system.name} less {peer.name}, clip by clip: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Quality of a model next to Opus and Codec2.")
    parser.add_argument("--model", default="iris-t1", help="a model's name or folder")
    parser.add_argument("--no-model", action="store_true", help="only the peers")
    parser.add_argument("--clips", type=Path, required=True, help="folder of speech files")
    parser.add_argument("--limit", type=int, help="only so many clips, spread over the folder")
    parser.add_argument("--workers", type=int, default=1, choices=(1, 2))
    parser.add_argument("--json", type=Path, help="write every clip's scores here")
    parser.add_argument("--wav", type=Path, help="keep the decoded files in this folder")
    options = parser.parse_args()
    clips = sorted(p for p in options.clips.iterdir() if p.suffix in (".flac", ".wav", ".opus"))
    if not clips:
        parser.error(f"no .flac, .wav or .opus file in {options.clips}")
    if options.limit:
        clips = clips[:: max(1, len(clips) // options.limit)][: options.limit]
    systems = [] if options.no_model else models(options.model)
    for peer in PEERS:
        if all(shutil.which(tool) for tool in peer.tools):
            systems.append(peer)
        else:
            console.print(
                f"{peer.name} is left out, its tools are not here: apt install {peer.package}"
            )
    with tempfile.TemporaryDirectory(prefix="chirrup-quality-") as temporary:
        results = measure(systems, clips, options.wav or Path(temporary), options.workers)
    show(results, systems, [clip.stem.rsplit("__", 1)[0] for clip in clips])
    if options.json:
        content = {"clips": [clip.name for clip in clips], "systems": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
