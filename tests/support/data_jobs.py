"""Jobs for the tests of worker processes."""

import os
import signal
import tempfile
import time
from pathlib import Path


def double(job: str) -> str:
    return job * 2


def double_or_die(job: str) -> str:
    """End the process at the job ``die``."""
    if job == "die":
        os._exit(9)
    return job * 2


def died(job: str) -> str:
    return f"{job} died"


def wait(job: str) -> str:
    """Leave a file with the name of the process, and never end."""
    Path(f"{os.getpid()}.pid").touch()
    time.sleep(1000)
    return job


def temporary_file() -> str:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    return path


def double_after_a_kill(job: str) -> str:
    """Kill the own process the first time that the job ``PATH`` comes, whose file then exists."""
    path = Path(job)
    if path.is_absolute() and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job * 2


def write_late(job: str) -> str:
    """Make a file after 15 seconds."""
    time.sleep(15)
    Path(job).touch()
    return job
