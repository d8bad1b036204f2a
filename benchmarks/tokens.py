"""The cost of tokenising a corpus.

python benchmarks/tokens.py [MODEL] [--bitrate 1000] [--files 200] [--short 10000] [--rows 1000000]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

import chirrup
from chirrup import tokens
from chirrup.data.workers import Work
from chirrup.resampling import resample_blocks
from chirrup.tokens import making, store
from shared import console, machine, speech_like, table

SECONDS = 5.0
RATES_HZ = (24_000, 48_000, 44_100)
FORMATS = ("parquet", "webdataset", "shar", "npz")
TURNS = 5
PART_FILES = 40
BULK_SECONDS = 60


def write_files(folder: Path, count: int, seconds: float, rate_hz: int) -> Path:
    """Write FLAC files, cut at different places from one signal."""
    folder.mkdir(parents=True)
    signal = speech_like(60 + seconds, rate_hz)
    for number in range(count):
        start = number * 7919 % (60 * rate_hz)
        part = signal[start : start + int(seconds * rate_hz)]
        soundfile.write(folder / f"{number:06d}.flac", part, rate_hz)
    return folder


def cpu_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def print_parts(codec: chirrup.Codec, bitrate_bps: int, root: Path) -> None:
    """Print the CPU time of reading, resampling and encoding, and of all together."""
    rows = table(
        f"CPU time in ms for a second of audio, FLAC files of {SECONDS:g} s, npz, one process",
        *("rate, Hz", "bulk", "read", "resample", "encode", "all", "bulk / all"),
    )
    for rate_hz in RATES_HZ:
        turns = parts_of(codec, bitrate_bps, root / f"parts-{rate_hz}", rate_hz)
        cells = [f"{1000 * median(turn[name] for turn in turns):.2f}" for name in turns[0]]
        share = median(turn["bulk"] / turn["all"] for turn in turns)
        rows.add_row(str(rate_hz), *cells, f"{share:.2f}")
    console.print(rows)


def parts_of(
    codec: chirrup.Codec, bitrate_bps: int, root: Path, rate_hz: int
) -> list[dict[str, float]]:
    """Return the CPU time of each part in s for a second of audio, in each of some turns."""
    source = write_files(root / "source", PART_FILES, SECONDS, rate_hz)
    files = sorted(source.iterdir())
    bulk = speech_like(BULK_SECONDS, codec.input_rate_hz)
    signals = [soundfile.read(file, dtype="float32", always_2d=True)[0].T for file in files]
    native = [np.concatenate([*resampled(x, rate_hz, codec)], axis=1)[0] for x in signals]
    settings = tokens.settings_of(codec, bitrate_bps, "npz")
    codec.encode(bulk[:9600], bitrate_bps)
    parts: dict[str, Callable[[], object]] = {
        "bulk": lambda: codec.encode(bulk, bitrate_bps),
        "read": lambda: [soundfile.read(file, dtype="float32") for file in files],
        "resample": lambda: [[*resampled(x, rate_hz, codec)] for x in signals],
        "encode": lambda: [codec.encode(x, bitrate_bps) for x in native],
        "all": lambda: tokens.tokenize(
            [str(source)], Path(tempfile.mkdtemp(dir=root)), codec, settings, in_turn
        ),
    }
    lengths = dict.fromkeys(parts, len(files) * SECONDS) | {"bulk": BULK_SECONDS}
    return [
        {name: cpu_of(part) / lengths[name] for name, part in parts.items()} for _ in range(TURNS)
    ]


def resampled(signal: np.ndarray, rate_hz: int, codec: chirrup.Codec) -> Iterator[np.ndarray]:
    return resample_blocks(iter([signal]), len(signal), rate_hz, codec.input_rate_hz)


def in_turn(work: Work, jobs: Iterable[str], crashed: Work | None = None) -> Iterator[str]:
    return map(work, jobs)


def command_cpu(source: Path, out: Path, *options: str) -> float:
    """Return the CPU time of the command with all of its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "chirrup", "tokenize", str(source), "--out", str(out), "-q"]
    subprocess.run([*command, *options], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_command(codec: chirrup.Codec, bitrate_bps: int, root: Path, count: int) -> None:
    """Print the CPU time of the command with two workers, in each format."""
    source = write_files(root / "command", count, SECONDS, codec.input_rate_hz)
    one = write_files(root / "start", 2, SECONDS, codec.input_rate_hz)
    bulk = speech_like(BULK_SECONDS, codec.input_rate_hz)
    rows = table(
        f"The command with two workers, {count} FLAC files of {SECONDS:g} s at the model's rate",
        *("format", "CPU s", "of which start", "ms / s of audio", "bulk / all without start"),
    )
    shard = str(-(-count // 8))
    for form in FORMATS:
        options = [f"--format={form}", f"--bitrate={bitrate_bps}", f"--model={codec.folder}"]
        options += ["--workers=2", f"--shard={shard}"]
        at_once = cpu_of(lambda: codec.encode(bulk, bitrate_bps)) / BULK_SECONDS
        whole = command_cpu(source, root / f"command-{form}", *options)
        again = cpu_of(lambda: codec.encode(bulk, bitrate_bps)) / BULK_SECONDS
        start = command_cpu(one, root / f"start-{form}", *options, "--shard=1")
        cost = (whole - start) / (count * SECONDS)
        cells = (
            f"{whole:.1f}",
            f"{start:.1f}",
            f"{1000 * cost:.2f}",
            f"{(at_once + again) / 2 / cost:.2f}",
        )
        rows.add_row(form, *cells)
    console.print(rows)


def print_short(codec: chirrup.Codec, bitrate_bps: int, root: Path, count: int) -> None:
    source = write_files(root / "short", count, 1, codec.input_rate_hz)
    options = [f"--bitrate={bitrate_bps}", f"--model={codec.folder}", "--workers=2"]
    seconds = command_cpu(source, root / "short-tokens", *options)
    console.print(f"{count} files of 1 s: {seconds:.0f} s of CPU, {seconds / 2:.0f} s on two cores")
    again = command_cpu(source, root / "short-tokens", *options)
    console.print(f"the same command again, with nothing to do: {again:.1f} s of CPU")


def print_opening(root: Path, count: int) -> None:
    """Print the CPU time of opening a data set of many rows and of reading rows of it.

    The index has the rows of a real shard many times.
    """
    folder = root / "short-tokens"
    about = json.loads((folder / making.DATASET).read_text())
    index, shards = np.load(folder / making.INDEX), about["shards"]
    rows = shards[0]["rows"]
    times = -(-count // rows)
    entries = np.tile(index[:rows], times)
    entries["shard"] = np.repeat(np.arange(times), rows)
    first = folder / "shards" / "tokens-000000.parquet"
    for number in range(1, times):
        path = first.with_name(f"tokens-{number:06d}.parquet")
        path.unlink(missing_ok=True)
        path.symlink_to(first)
    np.save(folder / making.INDEX, entries)
    ids = (f"{number}\n" for number in range(len(entries)))
    (folder / making.IDS).write_text("".join(ids))
    many = [{**shards[0], "number": number} for number in range(times)]
    text = json.dumps({**about, "rows": len(entries), "shards": many})
    (folder / making.DATASET).write_text(text)
    assert entries.dtype == store.ENTRY
    opened = tokens.open(folder)
    picks = np.random.default_rng(0).integers(0, len(opened), 500).tolist()
    times_s = {
        "open": cpu_of(lambda: tokens.open(folder)),
        "500 rows in random order": cpu_of(lambda: [opened.codes(row) for row in picks]),
        "500 rows in turn": cpu_of(lambda: [opened.codes(row) for row in range(500)]),
        "the first row by its id": cpu_of(lambda: opened["7"]),
    }
    console.print(f"\nA data set of {len(opened)} rows in {times} shards, Parquet, s of CPU:")
    for name, seconds in times_s.items():
        console.print(f"{name:<26} {seconds:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="name or folder of a model")
    parser.add_argument("--bitrate", type=int, default=1000)
    parser.add_argument("--files", type=int, default=400, help="files of 5 s")
    parser.add_argument("--short", type=int, default=10_000, help="files of 1 s")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the data set to open")
    options = parser.parse_args()
    codec = chirrup.load(options.model) if options.model else chirrup.load()
    console.print(machine())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print_parts(codec, options.bitrate, root)
        print_command(codec, options.bitrate, root, options.files)
        print_short(codec, options.bitrate, root, options.short)
        print_opening(root, options.rows)


if __name__ == "__main__":
    main()
