"""Repeated preparation: after a stop, with another recipe, and on Ray."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import chirrup
from chirrup.data.prepare import prepare
from chirrup.data.store import NAME, Store
from chirrup.errors import FileError
from data_samples import here, noise, talk, write
from prepared import FACTS, assert_same, entries, recipe

pytest.importorskip("pyloudnorm")
pytest.importorskip("matplotlib")

TESTS, SOURCE = Path(__file__).parents[1] / "support", Path(chirrup.__file__).parents[1]


class Counting:
    """A `workers.Run` that counts its jobs and stops after some of them."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.left, self.jobs = stop_after, Counter[str]()

    def __call__(self, work: Any, jobs: Any, crashed: Any = None) -> Any:
        for job in jobs:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.jobs[work.__module__.rpartition(".")[2]] += 1
            yield work(job)


@pytest.mark.parametrize("stop", [0, 5, 17, 20])
def test_a_stopped_preparation_goes_on(
    sources: list[str], corpus: Path, tmp_path: Path, stop: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(sources, tmp_path / "out", recipe(), Counting(stop), facts=FACTS)
    rest = Counting()
    prepare(sources, tmp_path / "out", recipe(), rest, facts=FACTS)
    assert rest.jobs["measure"] == max(0, 17 - stop)
    assert (tmp_path / "out" / "manifest.csv").read_bytes() == (
        corpus / "manifest.csv"
    ).read_bytes()
    idle = Counting()
    prepare(sources, tmp_path / "out", recipe(), idle, facts=FACTS)
    assert not idle.jobs


def command(folder: Path, sources: list[str]) -> tuple[list[str], dict[str, str]]:
    """That makes ``out`` below ``folder`` by the same recipe, and its environment."""
    lines = ["shard_minutes = 0.2", "[splits]", "test = 0.2", "validation = 0.2", "[filters.read]"]
    lines += ["keep_share = 1.0", "max = {}", "min = {snr_db = 20.0, seconds = 1.0}"]
    lines += [f"[output.{kind}]\nrate_hz = 8000" for kind in ("speech", "noise", "rir")]
    table = folder / "recipe.toml"
    table.write_text("\n".join(lines))
    told = ["--out", str(folder / "out"), "--recipe", str(table), "-q", "--workers", "1"]
    told += ["--licence", "CC0-1.0", "--language", "en"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(SOURCE), str(TESTS)))}
    return [sys.executable, "-m", "chirrup", "data", "prepare", *sources, *told], environment


def test_kill_9(sources: list[str], corpus: Path, tmp_path: Path) -> None:
    arguments, environment = command(tmp_path, sources)
    process = subprocess.Popen(
        arguments, env=environment, start_new_session=True, stderr=subprocess.PIPE
    )
    wal = tmp_path / "out" / "prepare.sqlite-wal"
    for _ in range(6000):  # until something was measured and kept
        if process.poll() is not None or (wal.is_file() and wal.stat().st_size > 60_000):
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "out").glob("*/*.tar.part"))
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "out", corpus)


def test_a_changed_file_is_measured_anew_and_a_lost_one_forgotten(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.wav", talk(2, seed=ord(name)) + 3e-4 * noise(2))
    source = [f"speech:{tmp_path}/in"]
    prepare(source, tmp_path / "out", recipe(), here, facts=FACTS)
    write(tmp_path / "in" / "a.wav", talk(3, seed=9) + 3e-4 * noise(3))
    (tmp_path / "in" / "b.wav").unlink()
    count = Counting()
    prepare(source, tmp_path / "out", recipe(), count, facts=FACTS, force=True)
    assert count.jobs["measure"] == 1
    seconds = {e.facts["group"]: float(e.facts["seconds"]) for e in entries(tmp_path / "out")}
    assert seconds == {"in:a": 3.0, "in:c": 2.0}


def test_recordings_that_the_sources_no_longer_hold_are_not_lost_unasked(tmp_path: Path) -> None:
    for name in ("one/a", "one/b", "two/c"):
        write(tmp_path / f"{name}.wav", talk(2, seed=ord(name[-1])) + 3e-4 * noise(2))
    one, two = f"speech:{tmp_path}/one", f"speech:{tmp_path}/two"
    out = tmp_path / "out"
    prepare([one, two], out, recipe(), here, facts=FACTS)

    def content() -> dict[str, bytes]:
        paths = [path for path in out.rglob("*") if path.is_file() and "sqlite" not in path.name]
        return {str(path): path.read_bytes() for path in paths}

    before = content()
    with pytest.raises(
        FileError, match="out has 2 recordings of one, which are no longer in the sources"
    ):
        prepare([two], out, recipe(), here, facts=FACTS)
    (tmp_path / "two" / "c.wav").rename(tmp_path / "c.wav")
    with pytest.raises(FileError, match=r"out has 1 recording of two, .* or --force to rem"):
        prepare([one, two], out, recipe(), here, facts=FACTS)
    assert content() == before
    idle = Counting()
    (tmp_path / "c.wav").rename(tmp_path / "two" / "c.wav")
    prepare([one, two], out, recipe(), idle, facts=FACTS)
    assert not idle.jobs
    prepare([two], out, recipe(), here, facts=FACTS, force=True)
    assert [entry.facts["source"] for entry in entries(out)] == ["two"]


def test_another_recipe_measures_nothing_anew(sources: list[str], tmp_path: Path) -> None:
    prepare(sources, tmp_path / "out", recipe(), here, facts=FACTS)
    count = Counting()
    other = recipe(shard_minutes=1.0, splits={"test": 0.0, "validation": 0.0})
    prepare(sources, tmp_path / "out", other, count, facts=FACTS)
    assert "measure" not in count.jobs
    assert sorted(path.name for path in (tmp_path / "out").glob("*/*")) == [
        "noise_train-000000.tar",
        "rir_train-000000.tar",
        "speech_train-000000.tar",
    ]
    shorter = recipe(piece_seconds=1.2)
    prepare(sources, tmp_path / "out", shorter, count, facts=FACTS)
    assert count.jobs["measure"] == 17


@pytest.mark.slow
def test_files_of_others_stay_and_its_own_old_ones_go(sources: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    prepare(sources, folder, recipe(shard_minutes=0), here, facts=FACTS)
    (folder / "speech_train" / "notes").mkdir()
    others = [folder / "speech_train" / "README.txt", folder / "speech_train" / "notes" / "a.tar"]
    for path in others:
        path.write_text("mine")
    files = {entry.path for entry in entries(folder)}
    assert all((folder / name).is_file() for name in files)
    prepare(sources, folder, recipe(), here, facts=FACTS)
    assert not any((folder / name).exists() for name in files)
    assert not list(folder.rglob("*.flac"))
    assert list(folder.rglob("speech_*/*-*.tar"))
    prepare(sources, folder, recipe(shard_minutes=0), here, facts=FACTS)
    assert not list(folder.rglob("speech_*/*-*.tar"))
    assert [path.read_text() for path in others] == ["mine", "mine"]


def test_the_same_on_ray(sources: list[str], corpus: Path, tmp_path: Path) -> None:
    """The test runs in a separate process, with which all processes of Ray end."""
    pytest.importorskip("ray")
    arguments, environment = command(tmp_path, sources)
    arguments.append("--ray")
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "out", corpus)


@pytest.mark.parametrize("size", [1_000, 40_000, 100_000])
def test_a_full_disk_is_said_and_the_rest_can_follow(
    sources: list[str],
    corpus: Path,
    tmp_path: Path,
    limited_size: Callable[[int], None],
    size: int,
) -> None:
    """In the working file, and in the shards."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limited_size(size)
    words = r"prepare\.sqlite cannot be used: .*: free space on the disk|\.tar: File too large"
    with pytest.raises(FileError, match=words):
        prepare(sources, tmp_path / "out", recipe(), here, facts=FACTS)
    assert not list((tmp_path / "out").rglob("*.part"))
    limited_size(before)
    prepare(sources, tmp_path / "out", recipe(), here, facts=FACTS)
    assert_same(tmp_path / "out", corpus)


@pytest.mark.parametrize(
    ("damage", "advice"),
    [("locked", "wait until"), ("no database", "remove it"), ("pages", "remove it")],
)
def test_a_working_file_that_cannot_be_used_is_named(
    sources: list[str], corpus: Path, tmp_path: Path, damage: str, advice: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(corpus, out)
    with ExitStack() as stack:
        if damage == "locked":
            stack.enter_context(Store(out))
        else:
            data = (out / NAME).read_bytes()
            kept = 4096 if damage == "pages" else 0
            (out / NAME).write_bytes(data[:kept] + b"\xff" * (len(data) - kept))
        words = rf"prepare\.sqlite cannot be used: .*: {advice}"
        with pytest.raises(FileError, match=words):
            prepare(sources, out, recipe(), here, facts=FACTS)
    assert (out / "manifest.csv").read_bytes() == (corpus / "manifest.csv").read_bytes()
