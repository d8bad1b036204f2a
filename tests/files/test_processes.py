"""Worker processes end with the process that started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

import data_jobs
from chirrup.files.drafts import open_scratch
from chirrup.files.processes import open_pool

TESTS = str(Path(__file__).parents[1] / "support")
PREPARE = """
import data_jobs
from chirrup.data.workers import processes
if __name__ == "__main__":
    list(processes(2)(data_jobs.wait, ["a", "b"], None))
"""
EVALUATE = """
from pathlib import Path
from chirrup.evaluate.run import Settings, System, evaluate
from chirrup.evaluate.clips import audio_files
from chirrup.evaluate.conditions import parse
if __name__ == "__main__":
    clips = audio_files(Path("clips"))
    system = System("own_codec:Waiting", 64_000)
    evaluate(Settings(clips, (system,), (parse("clean"),), ("snr",)), Path("out"))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "clips").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "clips" / f"{name}.wav", np.zeros(1600), 16_000)
    return tmp_path


@pytest.mark.parametrize("program", [PREPARE, EVALUATE], ids=["data", "evaluate"])
def test_workers_end_when_their_parent_is_killed(here: Path, program: str) -> None:
    (here / "program.py").write_text(program)
    parent = subprocess.Popen([sys.executable, "program.py"])
    workers: list[int] = []
    try:
        until(lambda: len(list(here.glob("*.pid"))) == 2, 60)
        workers = [int(path.stem) for path in here.glob("*.pid")]
        assert all(map(alive, workers))
        parent.kill()
        parent.wait()
        until(lambda: not any(map(alive, workers)), 10)
    finally:
        for process in (parent.pid, *workers):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def test_workers_end_at_once_if_the_body_fails(here: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_pool(1) as pool:  # noqa: PT012
        pool.submit(data_jobs.wait, "a")
        until(lambda: bool(list(here.glob("*.pid"))), 30)
        raise KeyboardInterrupt
    assert not any(alive(int(path.stem)) for path in here.glob("*.pid"))


def test_temporary_files_of_workers_go_with_those_of_the_run(tmp_path: Path) -> None:
    with open_scratch(tmp_path / "run") as scratch, open_pool(1, scratch) as pool:
        made = Path(pool.submit(data_jobs.temporary_file).result())
        assert made.exists()
        assert made.parent == scratch
    assert list(tmp_path.iterdir()) == []


def alive(process: int) -> bool:
    """Zombies do not count, because their new parent may not collect them."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
