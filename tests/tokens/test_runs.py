"""Runs of `tokenize` and `detokenize`: stopped, continued, with crashes and several workers."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

import chirrup
from chirrup import tokens
from chirrup.cli import run as cli
from chirrup.data.workers import Work, processes
from chirrup.tokens import work
from chirrup.tokens.formats import FORMATS
from chirrup.tokens.sources import Recording, scan
from chirrup.tokens.store import NAME
from token_jobs import run_or_die
from token_samples import content, file_of, in_turn


@pytest.mark.slow
def test_the_same_on_ray(many: Path, tmp_path: Path) -> None:
    """The command runs in a separate process, with which all processes of Ray end."""
    pytest.importorskip("ray")
    made = []
    for name, options in (("one", []), ("ray", ["--ray", "--workers", "2"])):
        out = ["--out", str(tmp_path / name), "--format", "npz", "--shard", "4"]
        command = [sys.executable, "-m", "chirrup", "tokenize", str(many), *out, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2  # one cannot be read
        assert "1 failure: see" in done.stderr
        made.append(content(tmp_path / name))
    assert made[0] == made[1]


@pytest.mark.slow  # four processes start
@pytest.mark.parametrize("form", FORMATS)
def test_the_bytes_do_not_depend_on_the_workers(
    many: Path, codec: chirrup.Codec, tmp_path: Path, form: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    settings = tokens.settings_of(codec, 1000, form)
    made = []
    for name, run in (("one", in_turn), ("two", processes(2))):
        tokens.tokenize([str(many)], tmp_path / name, codec, settings, run, shard_recordings=4)
        made.append(content(tmp_path / name))
    assert made[0] == made[1]
    assert len(made[0]) == 4 + 4 * len(FORMATS[form].names(0))


def test_a_second_run_does_only_what_is_missing_or_changed(
    many: Path, codec: chirrup.Codec, tmp_path: Path
) -> None:
    settings, out = tokens.settings_of(codec, 1000, "npz"), tmp_path / "out"
    jobs: list[int] = []

    def counting(work: Work, given: Iterable[str], crashed: Work | None) -> Iterator[str]:
        for job in given:
            jobs.append(json.loads(job)["number"])
            yield work(job)

    def again() -> list[int]:
        jobs.clear()
        tokens.tokenize([str(many)], out, codec, settings, counting, shard_recordings=4)
        return jobs.copy()

    assert again() == [0, 1, 2, 3]
    whole = content(out)
    assert again() == []
    (out / "shards" / "tokens-000002.npz").unlink()
    assert again() == [2]
    assert content(out) == whole
    os.truncate(out / "shards" / "tokens-000001.npz", 100)
    assert again() == [1]
    assert content(out) == whole
    (many / "09.flac").write_bytes(file_of("a.wav"))
    assert again() == [2]
    assert content(out) != whole
    (many / "11.flac").unlink()
    assert again() == []
    assert not (out / "shards" / "tokens-000003.npz").exists()
    assert len(tokens.open(out)) == 11
    for number in range(8):
        (many / f"{number:02d}.flac").write_bytes(b"no audio")
    assert again() == [0, 1, 2]
    assert [path.name for path in (out / "shards").iterdir()] == ["tokens-000002.npz"]
    with sqlite3.connect(out / NAME) as file:  # as before sizes were stored
        file.execute("ALTER TABLE shard DROP COLUMN sizes")
    file.close()
    assert again() == [0, 1, 2]
    assert again() == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "tokenize.sqlite is missing or empty, .*replace it with --force"),
        (lambda path: path.write_bytes(b""), "tokenize.sqlite is missing or empty"),
        (lambda path: path.write_bytes(b"x" * 9999), "not a database: replace .* with --force"),
        (lambda path: os.truncate(path, 5000), "replace the data set with --force"),
    ],
)
def test_force_replaces_a_data_set_without_its_working_file(
    many: Path,
    codec: chirrup.Codec,
    tmp_path: Path,
    damage: Callable[[Path], object],
    words: str,
) -> None:
    out = tmp_path / "out"

    def make(form: str, shard: int, force: bool = False) -> None:
        settings = tokens.settings_of(codec, 1000, form)
        few = [str(many / "00.flac"), str(many / "01.flac")]
        tokens.tokenize(few, out, codec, settings, in_turn, shard_recordings=shard, force=force)

    make("npz", 1)
    damage(out / NAME)
    before = content(out)
    with pytest.raises(chirrup.FileError, match=words):
        make("webdataset", 2)
    assert content(out) == before
    make("webdataset", 2, force=True)
    assert [path.name for path in (out / "shards").iterdir()] == ["tokens-000000.tar"]
    assert len(tokens.open(out)) == 2


def test_a_whole_data_set_need_not_be_writable(
    many: Path, codec: chirrup.Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out, back = tokens.settings_of(codec, 1000, "npz"), tmp_path / "out", tmp_path / "b"
    (many / "05-bad.flac").unlink()

    def run() -> tokens.Tokenized:
        made = tokens.tokenize([str(many)], out, codec, settings, in_turn, shard_recordings=4)
        tokens.detokenize(tokens.open(out), back, codec, in_turn)
        return made

    first = run()
    for folder in (out, out / "shards", back):
        folder.chmod(0o555)
    if os.geteuid() == 0:  # root writes nevertheless
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = {path: path.stat().st_mtime_ns for path in (out, back)}
    assert run() == replace(first, new_seconds=0.0)
    assert before == {path: path.stat().st_mtime_ns for path in (out, back)}
    (many / "11.flac").unlink()
    with pytest.raises(chirrup.FileError, match="cannot be written, but shard 2 is missing or not"):
        run()
    for folder in (out, out / "shards", back):
        folder.chmod(0o755)


def test_a_failed_run_leaves_no_description(
    many: Path, codec: chirrup.Codec, tmp_path: Path
) -> None:
    settings, out = tokens.settings_of(codec, 1000, "npz"), tmp_path / "out"

    def failing(work: Work, given: Iterable[str], crashed: Work | None) -> Iterator[str]:
        for number, job in enumerate(given):
            yield work(job) if number < 2 else json.dumps({"error": "the disk is full"})

    with pytest.raises(chirrup.FileError, match="the disk is full"):
        tokens.tokenize([str(many)], out, codec, settings, failing, shard_recordings=4)
    with pytest.raises(chirrup.FileError, match=r"has no dataset\.json: give a folder"):
        tokens.open(out)
    tokens.tokenize([str(many)], out, codec, settings, in_turn, shard_recordings=4)
    assert len(tokens.open(out)) == 12


def test_advice_fits_the_cause(
    many: Path, codec: chirrup.Codec, tmp_path: Path, limited_size: Callable[[int], None]
) -> None:
    settings, out = tokens.settings_of(codec, 1000, "npz"), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limited_size(4096)
    with pytest.raises(chirrup.FileError, match=r"disk I/O error: free space on the disk or raise"):
        tokens.tokenize([str(many)], out, codec, settings, in_turn)
    limited_size(before)
    (out / NAME).write_bytes(b"\xff" * 4096)
    with pytest.raises(chirrup.FileError, match="not a database: replace the data set with"):
        tokens.tokenize([str(many)], out, codec, settings, in_turn)


def test_a_full_disk_leaves_no_half_shard(
    many: Path,
    tmp_path: Path,
    limited_size: Callable[[int], None],
    capfd: pytest.CaptureFixture,
) -> None:
    out = tmp_path / "out"
    command = ["tokenize", str(many), "--out", str(out), "--format", "webdataset", "-q"]
    limited_size(25_000)
    assert cli(command) == 2
    error = capfd.readouterr().err
    assert "cannot be " in error
    assert error.count("\n") == 1
    left = [path.name for path in out.rglob("*") if path.is_file()]
    assert all(name.startswith(NAME) for name in left)
    limited_size(1 << 30)
    assert cli(command) == 2  # one file cannot be read
    assert len(tokens.open(out)) == 12


def test_a_disk_without_a_byte_is_an_error_with_the_folder(
    many: Path, codec: chirrup.Codec, tmp_path: Path, limited_size: Callable[[int], None]
) -> None:
    settings = tokens.settings_of(codec, 1000, "npz")
    job = work.job(tmp_path, 0, list(scan([str(many)])), settings, str(codec.folder))
    limited_size(0)
    assert json.loads(work.run(job)) == {"error": f"{tmp_path} cannot be written: File too large"}


@pytest.mark.slow  # two commands start with two workers each
def test_a_killed_run_continues(many: Path, tmp_path: Path) -> None:
    """It loses the shards in work. The result has the bytes of a run that was not killed."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    options = ["--format", "npz", "--shard", "2", "-q"]
    assert cli(["tokenize", str(many), "--out", str(whole), *options]) == 2
    command = [sys.executable, "-m", "chirrup", "tokenize", str(many), "--out", str(out)]
    process = subprocess.Popen([*command, *options, "--workers", "2"], start_new_session=True)
    shard = out / "shards" / "tokens-000001.npz"
    while not shard.exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_ino for path in (out / "shards").glob("*.npz")}
    if (out / "dataset.json").exists():
        pytest.skip("the machine was so slow that the run ended before it was killed")
    assert cli(["tokenize", str(many), "--out", str(out), *options]) == 2
    assert content(out) == content(whole)
    same = sum(path.stat().st_ino == inode for path, inode in kept.items())
    assert same >= len(kept) - 2


@pytest.mark.slow  # processes end and start again
def test_a_recording_that_ends_its_process_is_a_failure(
    many: Path, codec: chirrup.Codec, tmp_path: Path
) -> None:
    for name in ("deadly-1.flac", "deadly-2.flac"):
        (many / name).write_bytes(b"")

    def run(work: Work, jobs: Iterable[str], crashed: Work | None = None) -> Iterator[str]:
        return processes(1)(run_or_die, jobs, crashed)

    settings, out = tokens.settings_of(codec, 1000, "npz"), tmp_path / "out"
    done = tokens.tokenize([str(many)], out, codec, settings, run, shard_recordings=20)
    assert (done.rows, done.failures) == (12, 3)
    failures = [*map(json.loads, (out / "failures.jsonl").read_text().splitlines())]
    assert [(one["id"], one["reason"]) for one in failures[1:]] == [
        ("deadly-1.flac", "it ended the process"),
        ("deadly-2.flac", "it ended the process"),
    ]
    assert not list(out.glob(".reading*"))
    tokens.tokenize([str(many)], out, codec, settings, in_turn, shard_recordings=20)
    assert "ended the process" not in (out / "failures.jsonl").read_text()  # tried again


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_a_recording_that_failed_because_of_the_machine_is_tried_again(
    many: Path,
    codec: chirrup.Codec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    settings, source = tokens.settings_of(codec, 1000, "npz"), Recording.source

    def failing(recording: Recording) -> str | BinaryIO:
        if recording.id == "03.flac":
            raise error
        return source(recording)

    def failures() -> int:
        return tokens.tokenize([str(many)], tmp_path / "out", codec, settings, in_turn).failures

    monkeypatch.setattr(Recording, "source", failing)
    assert failures() == 2
    monkeypatch.setattr(Recording, "source", source)
    assert failures() == 1  # "no audio" is a fault of the recording


def test_a_process_that_ends_before_it_reads_a_recording_is_an_error(
    codec: chirrup.Codec, tmp_path: Path
) -> None:
    job = work.job(tmp_path, 0, [], tokens.settings_of(codec, 1000, "npz"), str(codec.folder))
    with pytest.raises(chirrup.FileError, match="a process was killed: is there enough memory"):
        work.crashed(job)


def test_a_recording_whose_permissions_were_changed_is_tried_again(
    many: Path, codec: chirrup.Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, access = tokens.settings_of(codec, 1000, "npz"), os.access

    def denying(path: Path, mode: int) -> bool:
        return path.name != "03.flac" and access(path, mode)

    def failures() -> int:
        return tokens.tokenize([str(many)], tmp_path / "out", codec, settings, in_turn).failures

    monkeypatch.setattr(os, "access", denying)
    assert failures() == 2
    monkeypatch.setattr(os, "access", access)
    assert failures() == 1


def test_the_command_states_rows_and_speed(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    command = ["tokenize", str(corpus / "a.wav"), "--out", str(tmp_path / "out")]
    for last in (r"0\.50 s in this run, \d+\.\d x real time", "nothing new"):
        assert cli([*command, "--format", "npz"]) == 0
        assert re.search(rf"1 row, 0\.50 s at 6000 bit/s; {last}$", capfd.readouterr().err, re.M)
    command[-1] = str(tmp_path / "other")
    assert cli([*command, "--format", "npz", "-b", "1700"]) == 0
    words = "iris-t1 has no bitrate of 1700 bit/s: the codes have the next lower one, 1500"
    assert words in " ".join(capfd.readouterr().err.split())
