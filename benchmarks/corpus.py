"""Measure CPU time, wall time and memory of `chirrup data prepare`.

The command prepares synthetic talks (16-bit files of a few seconds). CPU time is the sum over its
processes, so it does not depend on the load of the machine.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from rich.table import Table

from shared import PEAK, console, machine, speech_like, table

VOICES = 40
"""Number of different recordings. Further recordings repeat them at other levels."""


def recordings(folder: Path, minutes: float, seconds: float, rate: int, form: str) -> Path:
    """Write a folder of recordings for each speaker, ``minutes`` in all."""
    count = max(1, round(60 * minutes / (seconds + 0.5)))
    voices = [speech_like(seconds, rate, seed) for seed in range(min(count, VOICES))]
    silence = np.zeros(rate // 2, np.float32)
    random = np.random.default_rng(0)
    for number in range(count):
        level = 0.3 + 0.7 * random.random()
        audio = level * np.concatenate([voices[number % len(voices)], silence])
        audio += 1e-4 * random.standard_normal(len(audio)).astype(np.float32)
        place = folder / f"speaker{number % 20}"
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{number}.{form}", audio, rate)
    return folder


def prepared(sources: list[str], out: Path, workers: int, *options: str) -> tuple[float, ...]:
    """Run `chirrup data prepare`.

    Returns:
        CPU seconds of all processes, wall seconds, and peak memory of the leading process in MB.
    """
    command = [sys.executable, "-c", PEAK, "data", "prepare", *sources, "--out", str(out), "-q"]
    command += ["--workers", str(workers), "--licence", "CC0-1.0", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(command, env=environment, stderr=words)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        output = words.read()
    if process.returncode:
        raise SystemExit(f"chirrup data prepare failed: {output}")
    wall = time.perf_counter() - begin
    return usage.ru_utime + usage.ru_stime, wall, int(output.rsplit("peak", 1)[1]) / 1024


def seconds_in(out: Path) -> float:
    """Return the duration of all measured clips in seconds."""
    import sqlite3

    with sqlite3.connect(out / "prepare.sqlite") as connection:
        query = "SELECT SUM(json_extract(record, '$.seconds')) FROM clip"
        return connection.execute(query).fetchone()[0]


def row(result: Table, name: str, sources: list[str], workers: int, *options: str) -> None:
    with tempfile.TemporaryDirectory(prefix="chirrup-corpus-") as folder:
        out = Path(folder) / "out"
        cpu, wall, peak = prepared(sources, out, workers, *options)
        again, _, _ = prepared(sources, out, workers, *options)
        hours = seconds_in(out) / 3600
    result.add_row(
        name,
        f"{hours:.2f}",
        f"{cpu:.0f}",
        f"{cpu / hours:.0f}",
        f"{cpu / hours / workers:.0f}",
        f"{wall / hours:.0f}",
        f"{again:.1f}",
        f"{peak:.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of preparing a corpus.")
    parser.add_argument("--corpus", help="also prepare this source, LAYOUT:FOLDER")
    parser.add_argument("--minutes", type=float, default=20, help="minutes of synthetic talks")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    console.print(machine())
    result = table(
        f"chirrup data prepare, {options.workers} processes",
        *("", "hours", "CPU s", "CPU s an hour", "CPU s an hour and process", "wall s an hour"),
        *("again, CPU s", "leading process, MB"),
    )
    with tempfile.TemporaryDirectory(prefix="chirrup-corpus-") as folder:
        for name, seconds, rate, form in (
            ("FLAC 24 kHz, 7 s", 7.0, 24_000, "flac"),
            ("WAV 48 kHz, 7 s", 7.0, 48_000, "wav"),
            ("FLAC 24 kHz, 2 s", 2.0, 24_000, "flac"),
            ("FLAC 24 kHz, 10 min", 600.0, 24_000, "flac"),
        ):
            place = recordings(Path(folder) / "in", options.minutes, seconds, rate, form)
            row(result, name, [f"speech:{place}"], options.workers, "--style", "studio")
            shutil.rmtree(place)
    if options.corpus:
        row(result, options.corpus.rpartition("/")[2], [options.corpus], options.workers)
    console.print(result)


if __name__ == "__main__":
    main()
