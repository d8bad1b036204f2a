"""``-`` as input and output, and the files that remain after Ctrl-C, SIGTERM and a closed pipe."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.cli import run
from chirrup.cli.console import LiveInput
from chirrup.files import describe

COMMAND = [sys.executable, "-m", "chirrup"]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def chirrup(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # pyright: ignore[reportCallIssue]
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        timeout=60,
        **options,  # pyright: ignore[reportArgumentType]
    )


def test_pipes_both_ways(folder: Path) -> None:
    """Pipes give the same result as files, except for the length, which a file may state in its
    header."""
    talk = (folder / "talk.wav").read_bytes()
    coded = chirrup("encode", "-", "-", "-b", "1k", input=talk)
    assert (coded.returncode, coded.stderr) == (0, b"")
    assert coded.stdout == (folder / "talk.chirrup").read_bytes()
    decoded = chirrup("decode", "-", "-", input=coded.stdout)
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    wave, _ = soundfile.read(folder / "talk.wav")
    assert len(decoded.stdout) == 44 + 2 * wave.size
    raw = chirrup("decode", "-", "--raw", input=coded.stdout)
    assert raw.stdout == decoded.stdout[44:]
    again = chirrup("encode", "-", "-b1k", "--raw", "s16@22050x2", input=raw.stdout)
    assert again.returncode == 0
    facts = json.loads(chirrup("info", "-", "--json", input=again.stdout).stdout)
    assert (facts["sample_count"], facts["channels"]) == (44_101, 2)


def test_nobody_reads_the_output(folder: Path) -> None:
    """The command ends without a message, with exit code 2."""
    soundfile.write(folder / "long.wav", np.zeros(24_000 * 20), 24_000)
    assert run(["encode", str(folder / "long.wav"), "-q", "-f"]) == 0
    with subprocess.Popen(
        [*COMMAND, "decode", str(folder / "long.chirrup"), "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) == 2
        assert process.stderr.read() == b""


@pytest.mark.parametrize("to_file", [True, False])
def test_ctrl_c_ends_a_recording_that_is_kept(
    model_folder: Path, tmp_path: Path, to_file: bool
) -> None:
    target = tmp_path / "live.chirrup"
    with (
        subprocess.Popen(
            [*COMMAND, "encode", "-", str(target) if to_file else "-", "--raw", "s16@24000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(bytes(2 * 24_000 * 5))
        process.stdin.flush()
        first = b""
        if to_file:
            while not any(path.stat().st_size > 100 for path in tmp_path.iterdir()):
                time.sleep(0.05)
        else:
            first = process.stdout.read(100)  # while the input is still open
        process.send_signal(signal.SIGINT)
        if not to_file:
            target.write_bytes(first + process.stdout.read())
        assert process.wait(30) == 130
        said = re.search(r"interrupted: kept the first ([\d.]+) s", process.stderr.read().decode())
    assert names(tmp_path) == {"live.chirrup"}
    facts = describe(target, check=True)
    assert facts["damage"] == []
    assert said
    assert 1 < facts["seconds"] == pytest.approx(float(said[1]), abs=0.006)


@pytest.mark.parametrize(("closed", "line", "code"), [("<&-", "-", 2), (">&-", "talk.wav", 0)])
def test_closed_standard_streams(
    model_folder: Path, tmp_path: Path, closed: str, line: str, code: int
) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(24_000), 24_000)
    command = f"{shlex.join(COMMAND)} encode {line} x.chirrup --model {model_folder} {closed}"
    result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == code
    assert (tmp_path / "x.chirrup").exists() == (code == 0)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are Unicode there")
def test_names_of_files_need_not_be_unicode(model_folder: Path, tmp_path: Path) -> None:
    endings = (b"wav", b"chirrup", b"flac")
    talk, coded, heard = (tmp_path / os.fsdecode(b"caf\xe9." + end) for end in endings)
    with talk.open("wb") as file:
        soundfile.write(file, np.zeros(24_000), 24_000, format="WAV")
    chirrup("encode", talk, coded, "--model", model_folder)
    chirrup("decode", coded, heard, "--model", model_folder)
    assert names(tmp_path) == {talk.name, coded.name, heard.name}


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_command_leaves_nothing(
    model_folder: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    source = tmp_path / "long.wav"
    soundfile.write(source, np.zeros(24_000 * 600), 24_000)
    with subprocess.Popen([*COMMAND, "encode", str(source)], stderr=subprocess.PIPE) as process:
        while len(names(tmp_path)) == 1 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(kind)
        assert process.wait(30) == 128 + kind
        assert process.stderr is not None
        said = process.stderr.read()
        assert said == (b"chirrup: interrupted\n" if kind == signal.SIGINT else b"")
    assert names(tmp_path) == {"long.wav"}


def test_ctrl_c_during_the_imports_prints_one_line(tmp_path: Path) -> None:
    for module in ("numpy", "typer"):
        (tmp_path / f"{module}.py").write_text(
            "import signal\nsignal.raise_signal(signal.SIGINT)\n"
        )
        result = subprocess.run(
            [*COMMAND, "models"],
            capture_output=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            check=False,
        )
        assert (result.returncode, result.stderr) == (130, b"chirrup: interrupted\n")
        (tmp_path / f"{module}.py").unlink()


def test_ctrl_c_while_the_arguments_are_parsed_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chirrup.cli.usage.Command.parse_args", interrupt)
    assert run(["models"]) == 130
    assert capsys.readouterr().err == "chirrup: interrupted\n"


def test_live_input_ends_at_the_first_ctrl_c() -> None:
    with (Path(__file__)).open("rb") as file:
        live = LiveInput(file)
        assert live.read(3) == b'"""'
        live.interrupt()  # while coding: the coding goes on
        assert live.read(3) == b""
        with pytest.raises(KeyboardInterrupt):
            live.interrupt()
