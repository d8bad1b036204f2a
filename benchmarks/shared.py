"""Common parts of the benchmarks: console, tables, arguments, a test signal, the machine."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from chirrup.cli.recipes import find_recipe
from chirrup.errors import ChirrupError, UsageError

console = Console()
console.width = max(console.width, 132)

PEAK = """
import sys
from chirrup.cli import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print("peak", status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""
"""Program that runs a chirrup command and prints its peak memory in kB. The rusage of a child would
also include the memory of its parent."""


def table(title: str, *headings: str) -> Table:
    result = Table(title=title, title_justify="left")
    for index, heading in enumerate(headings):
        result.add_column(heading, justify="right" if index else "left")
    return result


def continuing(description: str, start: str = "checkpoint") -> argparse.ArgumentParser:
    """Return a parser of START RECIPE [KEY=VALUE ...] --out PATH."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(start, type=Path)
    parser.add_argument("recipe", type=recipe_file)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def recipe_file(name: str) -> Path:
    """Return the path of a recipe, for argparse: a file, or the name of one of the package."""
    try:
        return find_recipe(name)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(main: Callable[[], None]) -> None:
    """Run the main function of a script; an expected error gives one line and exit code 2."""
    try:
        main()
    except (ChirrupError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def check_new(folder: Path) -> None:
    """Check that no training is in a folder.

    Raises:
        UsageError: there is one.
    """
    if (folder / "checkpoint.pt").exists():
        raise UsageError(f"{folder} has a checkpoint.pt already: choose another --out")


def speech_like(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Return a voice-like tone and noise in syllables. The signal does not affect the speed."""
    rng, time_s = np.random.default_rng(seed), np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(130 + 30 * np.sin(2 * np.pi * 0.5 * time_s)) / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time_s), 0, 1)
    noise = rng.standard_normal(len(time_s))
    return (0.05 * syllables * voice + 0.01 * noise).astype(np.float32)


def processor() -> str:
    """Return the name of the processor."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return names[0].split(":")[1].strip() if names else platform.machine()


def machine() -> str:
    """Return the processor, its load and the versions of the packages."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = [f"Python {platform.python_version()}"]
    for package in ("chirrup", "numpy", "onnxruntime", "torch"):
        if importlib.util.find_spec(package):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return f"{processor()}, {os.cpu_count()} CPUs, load {load} before\n{', '.join(versions)}"
