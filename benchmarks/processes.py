"""The tables of `speed.py` about new processes: start-up time and peak memory."""

import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import soundfile
from rich.table import Table

from shared import PEAK, speech_like, table


def start_up(model: str, rounds: int = 5) -> Table:
    load = f"import chirrup; codec = chirrup.load({model!r})"
    frame = "; import numpy as np; e = codec.encoder(); d = codec.decoder(); "
    programs = {
        "python -c pass": "pass",
        "import numpy": "import numpy",
        "import onnxruntime": "import onnxruntime",
        "import chirrup": "import chirrup",
        "import chirrup, load": load,
        "and code a first frame": f"{load}{frame}"
        "d.push(e.push(np.zeros(codec.frame_samples, np.float32))[0])",
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-c", program])
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{name} failed")
            wall = time.perf_counter() - start
            spent[name].append((usage.ru_utime + usage.ru_stime, wall))
    result = table(f"Start-up of a new process, s, median of {rounds}", "", "CPU", "wall")
    for name, values in spent.items():
        result.add_row(name, *(f"{value:.2f}" for value in np.median(values, axis=0)))
    return result


def peak_mb(*arguments: str) -> float:
    """Return the peak memory of a chirrup command in MB."""
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"chirrup {' '.join(arguments)} failed: {done.stderr}")
    return int(done.stderr.rsplit("peak", 1)[1]) / 1024


def memory(model: str, rate: int, minutes: int, channels: int) -> Table:
    """Return the peak memory of coding a file of one minute and a file of ``minutes``."""
    result = table(
        f"Peak memory, MB; {rate / 1000:g} kHz, channels: {channels}",
        "",
        "1 minute",
        f"{minutes} minutes",
        "ratio",
    )
    peaks: dict[str, list[float]] = {"chirrup encode": [], "chirrup decode": []}
    minute = np.stack([speech_like(60, rate, seed) for seed in range(channels)], axis=1)
    with tempfile.TemporaryDirectory(prefix="chirrup-memory-") as folder:
        for length in (1, minutes):
            wav, coded, out = (f"{folder}/{length}{end}" for end in (".wav", ".chirrup", "-.wav"))
            with soundfile.SoundFile(wav, "w", rate, channels, "PCM_16") as file:
                for _ in range(length):
                    file.write(minute)
            peaks["chirrup encode"].append(peak_mb("encode", wav, coded, "--model", model))
            peaks["chirrup decode"].append(peak_mb("decode", coded, out, "--model", model))
    for name, (short, long) in peaks.items():
        result.add_row(name, f"{short:.0f}", f"{long:.0f}", f"{long / short:.2f}")
    return result
