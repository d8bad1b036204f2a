"""Jobs in processes of this machine and on a local Ray."""

import _thread
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import data_jobs
from chirrup.data.workers import WAITING, on_ray, processes
from chirrup.errors import FileError


def test_every_job_has_its_result() -> None:
    jobs = [str(number) for number in range(40)]
    results = processes(2)(data_jobs.double, jobs, None)
    assert sorted(results) == sorted(job * 2 for job in jobs)


def test_jobs_are_drawn_as_they_are_needed() -> None:
    """Memory does not grow with the number of jobs."""
    drawn = 0

    def jobs() -> Iterator[str]:
        nonlocal drawn
        for number in range(100):
            drawn += 1
            yield str(number)

    results = processes(1)(data_jobs.double, jobs(), None)
    next(results)
    assert drawn <= WAITING + 1
    assert len(list(results)) == 99


def test_a_signal_is_noticed_while_a_job_runs(tmp_path: Path) -> None:
    """`interrupt_main` does not wake the main thread, like a signal that comes as a wait begins."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(processes(1)(data_jobs.write_late, [str(tmp_path / "late")], None))
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_ends_its_process_ends_no_other() -> None:
    jobs = ["a", "die", "b", "c", "d", "die", "e", "f"]
    results = processes(2)(data_jobs.double_or_die, jobs, data_jobs.died)
    assert sorted(results) == sorted(["die died"] * 2 + [2 * job for job in "abcdef"])


def test_a_process_that_ends_where_none_may() -> None:
    with pytest.raises(FileError, match="a process was killed"):
        list(processes(1)(data_jobs.double_or_die, ["die"], None))


RAY = """
import sys
import data_jobs
from chirrup.data.workers import on_ray

jobs = [str(number) for number in range(20)] + [sys.argv[1]]
results = on_ray(None, 2)(data_jobs.double_after_a_kill, jobs, None)
assert sorted(results) == sorted(job * 2 for job in jobs)
"""


@pytest.mark.slow
def test_a_killed_process_of_ray_is_replaced(tmp_path: Path) -> None:
    """The test runs in a separate process, with which all processes of Ray end."""
    pytest.importorskip("ray")
    mark, support = tmp_path / "killed", str(Path(data_jobs.__file__).parent)
    command = [sys.executable, "-c", RAY, str(mark)]
    environment = os.environ | {"PYTHONPATH": support}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert mark.exists()


def test_no_jobs() -> None:
    assert list(processes(2)(data_jobs.double, [], None)) == []


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FileError, match=r"pip install 'chirrup\[scale\]'"):
        on_ray(None)
