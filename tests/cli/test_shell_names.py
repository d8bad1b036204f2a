"""Inputs and outputs that a shell can give: descriptors, pipes, devices, closed streams."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.cli import run
from file_samples import noise

COMMAND = shlex.join([sys.executable, "-m", "chirrup"])


@contextmanager
def given(data: bytes) -> Iterator[str]:
    """Return the name of a pipe with this many bytes, all of which must be read."""
    reading, writing = os.pipe()
    broken: list[BaseException] = []

    def write() -> None:
        try:
            with open(writing, "wb") as file:
                file.write(data)
        except BrokenPipeError as error:
            broken.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    yield f"/dev/fd/{reading}"
    os.close(reading)
    thread.join()
    assert not broken


@contextmanager
def taken(found: list[bytes]) -> Iterator[str]:
    """Yield the name of a pipe and a list of the bytes that are written to it."""
    reading, writing = os.pipe()

    def read() -> None:
        with open(reading, "rb") as file:
            found.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    yield f"/dev/fd/{writing}"
    os.close(writing)
    thread.join()


def test_pipes_by_name(folder: Path) -> None:
    """Descriptors as in ``<(...)`` and ``>(...)``."""
    talk, coded = (folder / "talk.wav").read_bytes(), (folder / "talk.chirrup").read_bytes()
    outputs: list[bytes] = []
    with given(talk) as source, taken(outputs) as target:
        assert run(["encode", source, target, "-b", "1k"]) == 0
    with given(coded) as source, taken(outputs) as target:
        assert run(["decode", source, target]) == 0
    assert outputs[0] == coded
    audio, _ = soundfile.read(folder / "talk.wav")
    assert len(outputs[1]) == 44 + 2 * audio.size
    with given(coded) as source:
        assert run(["info", source, "--check"]) == 0
    with given(coded + b"more") as source:
        assert run(["info", source, "--check"]) == 2


def test_a_descriptor_is_written_where_it_stands(folder: Path, tmp_path: Path) -> None:
    """Output as in ``{ echo before; chirrup encode talk.wav /dev/stdout; echo after; } > all``."""
    with (tmp_path / "all").open("wb", buffering=0) as file:
        link = tmp_path / "link.chirrup"
        link.symlink_to(f"/dev/fd/{file.fileno()}")
        file.write(b"before")
        assert run(["encode", str(folder / "talk.wav"), str(link), "-b", "1k", "-q"]) == 0
        file.write(b"after")
    coded = (folder / "talk.chirrup").read_bytes()
    assert (tmp_path / "all").read_bytes() == b"before" + coded + b"after"
    with (tmp_path / "all").open("rb", buffering=0) as file:
        file.seek(len(b"before"))
        source = f"/dev/fd/{file.fileno()}"
        assert run(["decode", source, str(tmp_path / "x.wav"), "-q"]) == 0
    assert soundfile.info(tmp_path / "x.wav").frames == 44_101


def test_devices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["encode", folder / "talk.wav"], ["decode", folder / "talk.chirrup"]):
        assert run([*map(str, arguments), "/dev/null", "-q"]) == 0
        assert run([*map(str, arguments), "/dev/full"]) == 2
        assert "/dev/full cannot be written: No space left" in capsys.readouterr().err
    assert run(["encode", "/dev/zero", str(folder / "x.chirrup")]) == 2
    assert "/dev/zero cannot be read as audio" in capsys.readouterr().err
    assert run(["encode", "/dev/null", str(folder / "x.chirrup")]) == 2
    assert run(["decode", "/dev/zero", str(folder / "x.wav")]) == 2
    assert not (folder / "x.chirrup").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("encode fifo.flac", "is a pipe or device, so the output has no name: give OUT"),
        ("decode talk.chirrup fifo.flac", "is a pipe or device, which gets WAV"),
        ("decode fifo.flac x.wav --keep-rate", "give --model as well"),
        ("encode talk.wav /dev/fd/987", "/dev/fd/987 cannot be written: Bad file descriptor"),
        ("encode /dev/fd/987 x", "/dev/fd/987 cannot be read: Bad file descriptor"),
        ("export talk.wav x --audio fifo.flac", "fifo.flac is not a file: give an audio file"),
    ],
)
def test_names_that_cannot_do(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    if not Path("fifo.flac").exists():
        os.mkfifo("fifo.flac")
    assert run(line.split()) == 2
    assert message in capsys.readouterr().err


# --- what follows the input --------------------------------------------------------------------


@pytest.mark.parametrize("by", ["file", "pipe"])
def test_two_files_in_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    """Only the first of two joined files is decoded, and a note mentions the second."""
    soundfile.write(tmp_path / "long.wav", noise(20 * 8000), 8000)
    assert run(["encode", str(tmp_path / "long.wav"), "-q"]) == 0
    short = (folder / "talk.chirrup").read_bytes()
    long = (tmp_path / "long.chirrup").read_bytes()
    for first, second, samples in ((short, long, 44_101), (long, short, 160_000)):
        (tmp_path / "two.chirrup").write_bytes(first + second)
        with given(first + second) as pipe:
            source = str(tmp_path / "two.chirrup") if by == "file" else pipe
            if by == "file":
                pipe_is_read(pipe)
            assert run(["decode", source, str(tmp_path / "x.wav"), "-q", "-f"]) == 0
        assert soundfile.info(tmp_path / "x.wav").frames == samples
        said = capsys.readouterr().err
        assert f"skipped {len(second)} bytes after its end (another .chirrup file)" in said
    assert run(["info", str(tmp_path / "two.chirrup")]) == 0
    assert "duration:  20.00 s" in capsys.readouterr().out


def pipe_is_read(name: str) -> None:
    with open(name, "rb") as file:
        file.read()


def test_a_writer_is_not_killed(folder: Path, tmp_path: Path) -> None:
    """Notes on bytes after the samples in standard input."""
    big = b"LIST" + (500_000).to_bytes(4, "little") + bytes(500_000)
    (tmp_path / "trail.wav").write_bytes((folder / "talk.wav").read_bytes() + big)
    (tmp_path / "trail.chirrup").write_bytes((folder / "talk.chirrup").read_bytes() + big)
    for line in (
        "cat trail.wav | COMMAND encode - x.chirrup -q",
        "cat trail.chirrup | COMMAND decode - x.wav -q",
        "cat trail.chirrup | COMMAND info -",
    ):
        script = f"set -o pipefail; {line.replace('COMMAND', COMMAND)}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (line, done.stderr)
        assert ("bytes after its end" in done.stderr) == ("decode" in line)


# --- streams and letters -----------------------------------------------------------------------


def test_closed_standard_error(folder: Path, tmp_path: Path) -> None:
    """A library's warnings are not written into a file that gets the closed descriptor."""
    script = f"{COMMAND} encode talk.wav {tmp_path}/x.chirrup -b 1k 2>&- && "
    script += f"{COMMAND} decode {tmp_path}/x.chirrup {tmp_path}/x.mp3 2>&- && "
    script += f"{COMMAND} decode {tmp_path}/x.chirrup {tmp_path}/x.wav 0<&- 1>&- 2>&-"
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "x.chirrup").read_bytes() == (folder / "talk.chirrup").read_bytes()
    assert soundfile.info(tmp_path / "x.mp3").frames == 44_101
    assert soundfile.info(tmp_path / "x.wav").frames == 44_101


def test_a_terminal_that_lacks_letters(folder: Path, tmp_path: Path) -> None:
    arguments = ["encode", str(folder / "talk.wav"), str(tmp_path / "x.chirrup")]
    assert run([*arguments, "--metadata", "title=Łódź", "-q"]) == 0
    done = subprocess.run(
        [*shlex.split(COMMAND), "info", tmp_path / "x.chirrup"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert rb"metadata title: \u0141\xf3d\u017a".replace(rb"\xf3", b"\xf3") in done.stdout


def test_no_text_from_elsewhere_changes_the_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = folder / "talk.wav", tmp_path / "\x1b[31m\x9bred.chirrup"
    assert run(["encode", str(source), str(target), "--metadata", "title=\x1b]0;evil\x07"]) == 0
    assert run(["info", str(target)]) == 0
    assert run(["encode", str(source), str(target)]) == 2
    said = capsys.readouterr()
    assert not set(said.out + said.err) & {"\x1b", "\x9b", "\x07"}
    assert r"metadata title: \x1b]0;evil\x07" in said.out


@pytest.mark.parametrize("times", [["--to", "1e308"], ["--from", "0", "--to", "9e99:0:0"]])
def test_a_time_after_the_end_is_the_end(folder: Path, tmp_path: Path, times: list[str]) -> None:
    target = str(tmp_path / "x.wav")
    assert run(["decode", str(folder / "talk.chirrup"), target, "-q", *times]) == 0
    assert soundfile.info(target).frames == 44_101
    assert run(["decode", str(folder / "talk.chirrup"), target, "-f", "--from", "1e307"]) == 2
    assert np.isfinite(soundfile.read(target)[0]).all()
