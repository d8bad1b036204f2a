"""The commands of live voice as processes, and what they have received."""

import json
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

import chirrup

COMMAND = [sys.executable, "-m", "chirrup"]
SPEECH, RATE_HZ = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", dtype="float32")
LIMIT_S = 60


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@contextmanager
def started(*arguments: object) -> Generator[subprocess.Popen[str], None, None]:
    """Run a command. A line of its meters shows that it runs, or has joined its room."""
    command = [*COMMAND, *map(str, arguments), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), process.communicate()[1]
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], limit_s: float = LIMIT_S) -> tuple[dict, str]:
    """Wait for the end of a command, and return its last meters and its messages."""
    out, messages = process.communicate(timeout=limit_s)
    assert process.returncode == 0, messages
    return json.loads(out.splitlines()[-1]), messages


def level(path: Path) -> float:
    audio, _ = soundfile.read(path)
    return float(np.sqrt(np.square(audio).sum() / RATE_HZ))


def is_heard(path: Path, talk: Path) -> bool:
    """Return whether a file has the level of a talk. A busy machine may have dropped a part."""
    return 0.3 < level(path) / level(talk) < 1.3
