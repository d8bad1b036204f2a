"""Tampered input of every kind: each has to be used, or to raise the errors that are named for it.

    python tests/support/fuzzing.py [--rounds 1000] [--seed 0] [--what models checkpoints ...]

Rounds of model folders, checkpoints, manifests and shards run in processes of their own. Each may
take `MOST_SECONDS` of CPU time, and memory beyond its start of `MOST_EXPANSION` times the input and
`MOST_BYTES`. A round that breaks a rule is printed with its number; the same seed and number give
it again. Packets, files, datagrams and the jitter buffer, of which a million rounds take minutes,
run in this process.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Protocol

import fuzzing_bitstream
import fuzzing_endpoints
import fuzzing_live
import fuzzing_playout
import fuzzing_radio
from chirrup.errors import ChirrupError

MOST_SECONDS = 2
ROUNDS_OF_A_PROCESS = 50
MOST_EXPANSION, MOST_BYTES = 20, 64 << 20
TARGETS = {
    "models": ("fuzzing_models", "Models"),
    "checkpoints": ("fuzzing_checkpoints", "Checkpoints"),
    "manifests": ("fuzzing_corpora", "Manifests"),
    "shards": ("fuzzing_corpora", "Shards"),
}
"""Modules, imported when they are needed, and their targets."""
BITSTREAM = {
    "packets": fuzzing_bitstream.Packets,
    "playout": fuzzing_playout.RandomPlayout,
    "bare": fuzzing_radio.BareFrames,
    "text": fuzzing_radio.SideText,
    "messages": fuzzing_radio.Messages,
    "noise": fuzzing_radio.NoiseDescriptions,
    "files": fuzzing_bitstream.Files,
    "jitter": fuzzing_live.Jitter,
    "datagrams": fuzzing_live.Datagrams,
    "sealed": fuzzing_endpoints.Sealed,
    "connections": fuzzing_endpoints.Connections,
}


class Target(Protocol):
    """What is tampered with.

    Attributes:
        errors: what `use` may raise.
    """

    @property
    def errors(self) -> tuple[type[ChirrupError], ...]: ...

    def tamper(self, draw: random.Random, folder: Path) -> str: ...
    def use(self, folder: Path) -> None: ...


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def child(target: Target, seed: int, numbers: range, outside: Path, answer: int) -> None:
    """Run rounds, and write two lines for each: the change and the outcome."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("error")
    for number in numbers:
        folder = outside / str(number)
        folder.mkdir()
        change = target.tamper(random.Random(f"{seed} {number}"), folder)
        os.write(answer, json.dumps(" ".join(change.split())[:200]).encode() + b"\n")
        os.write(answer, json.dumps(outcome_of(target, folder)).encode() + b"\n")
        shutil.rmtree(folder)


def outcome_of(target: Target, folder: Path) -> str:
    """Return ``ran`` or the name of an error, or in other words which rule was broken."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start, before = time.process_time(), peak_bytes()
    resource.setrlimit(resource.RLIMIT_CPU, (int(start) + 10, resource.RLIM_INFINITY))
    signal.alarm(60)
    try:
        target.use(folder)
        outcome = "ran"
    except target.errors as error:
        outcome = type(error).__name__
    except BaseException as error:
        outcome = f"{error!r}\n{traceback.format_exc(limit=-4)}"
    seconds, grown = time.process_time() - start, peak_bytes() - before
    if seconds > MOST_SECONDS:
        return f"{seconds:.1f} s"
    if grown > MOST_EXPANSION * size + MOST_BYTES:
        return f"{grown / 1e6:.0f} MB for {size / 1e6:.1f} MB"
    return outcome


def rounds(target: Target, seed: int, count: int) -> Counter[str]:
    """Count the outcomes of ``count`` rounds, and print those that break a rule."""
    outcomes: Counter[str] = Counter()
    number = 0
    while number < count:
        numbers = range(number, min(count, number + ROUNDS_OF_A_PROCESS))
        reading, writing = os.pipe()
        with tempfile.TemporaryDirectory() as outside:
            pid = os.fork()
            if not pid:
                try:
                    child(target, seed, numbers, Path(outside), writing)
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading, "rb") as answer:
                lines = [json.loads(line) for line in answer.read().splitlines()]
            _, status = os.waitpid(pid, 0)
        if len(lines) < 2 * len(numbers):
            lines += ["nothing"] * (len(lines) % 2 == 0)
            lines.append(f"ended by signal {os.WTERMSIG(status)}")
        for change, outcome in zip(lines[::2], lines[1::2]):
            rule = outcome.isidentifier()
            outcomes[outcome if rule else "broken"] += 1
            if not rule:
                print(f"{type(target).__name__} {number}: {change}\n{outcome}\n", flush=True)
            number += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", nargs="+", default=[*TARGETS, *BITSTREAM])
    options = parser.parse_args()
    broken = 0
    for name in options.what:
        if name in TARGETS:
            module, target = TARGETS[name]
            outcomes = rounds(
                getattr(import_module(module), target)(), options.seed, options.rounds
            )
        else:
            draw = random.Random(options.seed)
            outcomes = fuzzing_bitstream.rounds(BITSTREAM[name](draw), options.rounds)
        print(name, dict(outcomes), flush=True)
        broken += outcomes["broken"]
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # Threads of OpenMP do not survive a fork: a round would wait for them for ever.
        os.execve(
            sys.executable, [sys.executable, *sys.argv], os.environ | {"OMP_NUM_THREADS": "1"}
        )
    main()
