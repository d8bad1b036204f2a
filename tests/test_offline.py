"""A process that codes audio opens no network connection and leaves no files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)

import numpy as np
import chirrup

codec = chirrup.load("iris-t1")
audio = codec.decode(codec.encode(np.zeros(24_000, np.float32)))
assert audio.shape == (24_000,)
"""
OPENED_TO_WRITE = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)", [^)]*O_(?:WRONLY|RDWR|CREAT)')


def strace(log: Path) -> list[str]:
    """A prefix that records network calls and opened files of native code; empty without strace."""
    program = shutil.which("strace")
    if program is None:
        return []
    prefix = [program, "-f", "-o", str(log), "-e", "trace=network,open,openat,creat,mkdir,mkdirat"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if allowed else []


def traces(home: Path, log: Path, **environment: str) -> list[str]:
    """Run `PROGRAM` with ``home`` as every folder of the user; return the files that it leaves and
    the network calls that strace sees."""
    folders = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    own = {name: str(home) for name in (*folders, "XDG_RUNTIME_DIR", "TMPDIR")}
    inherited = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [*strace(log), sys.executable, "-B", "-c", PROGRAM],
        cwd=home,
        env=inherited | own | environment,
        check=True,
        timeout=120,
    )
    calls = log.read_text().splitlines() if log.exists() else []
    written = (match[1] for call in calls if (match := OPENED_TO_WRITE.search(call)))
    return [
        *(path.relative_to(home).as_posix() for path in home.rglob("*")),
        *(path for path in written if not path.startswith("/dev/")),
        *(call for call in calls if "AF_INET" in call),
    ]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_coding_leaves_no_trace(home: Path, tmp_path: Path) -> None:
    assert traces(home, tmp_path / "calls") == []


def test_traces_of_telemetry_are_seen(home: Path, tmp_path: Path) -> None:
    """The negative control, for versions of the runtime that have telemetry."""
    seen = traces(home, tmp_path / "calls", ORT_DISABLE_TELEMETRY="0")
    if not seen:
        pytest.skip("this onnxruntime has no telemetry")
    assert any("deviceid" in trace for trace in seen)
