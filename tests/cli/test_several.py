"""Several inputs and folders, and the default names of outputs."""

import _thread
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import soundfile

from chirrup import files
from chirrup.cli import run
from chirrup.files import encode_file
from chirrup.files.meter import Progress
from chirrup.files.several import Pair, run_each
from file_samples import noise


class Recordings:
    """Recordings in the current folder, which no command may change."""

    def __init__(self) -> None:
        self.written: dict[Path, bytes] = {}

    def add(self, name: str, content: bytes | None = None) -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            kind = path.suffix[1:].upper() if path.suffix in (".flac", ".mp3") else "WAV"
            with path.open("wb") as file:
                soundfile.write(file, noise(3000), 24_000, format=kind)
        else:
            path.write_bytes(content)
        self.written[path] = path.read_bytes()

    def others(self) -> set[str]:
        """All files but the recordings."""
        found = {path for path in Path().rglob("*") if path.is_file()}
        return {str(path) for path in found - set(self.written)}


@pytest.fixture
def recordings(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recordings]:
    monkeypatch.chdir(tmp_path)
    recordings = Recordings()
    yield recordings
    assert {path: path.read_bytes() for path in recordings.written} == recordings.written


@pytest.mark.parametrize(
    ("inputs", "lines", "outputs"),
    [
        (("one.wav", "two.wav"), ["encode one.wav two.wav"], "one.chirrup two.chirrup"),
        (
            ("talk.wav",),
            ["encode talk.wav", "decode talk.chirrup"],
            "talk.chirrup talk.decoded.wav",
        ),
        (
            ("talk.wav",),
            ["encode talk.wav", "decode talk.chirrup --from 0.05 --to 1:02:03.5"],
            "talk.chirrup talk.0m00.05-1h02m03.5.wav",
        ),
        (
            ("talk.wav",),
            ["encode talk.wav", "decode talk.chirrup --raw --from 0.05"],
            "talk.chirrup talk.0m00.05-end.raw",
        ),
        (("1.5", "1.6"), ["encode 1.5", "encode 1.6"], "1.5.chirrup 1.6.chirrup"),
        (
            ("TALK.wav", "TALK.flac"),
            ["encode TALK.wav TALK.flac"],
            "TALK.wav.chirrup TALK.flac.chirrup",
        ),
        (
            ("a/1.wav", "b/2.mp3"),
            ["encode a/1.wav b/2.mp3 --out x/y", "decode x/y/1.chirrup x/y/2.chirrup"],
            "x/y/1.chirrup x/y/2.chirrup x/y/1.decoded.wav x/y/2.decoded.wav",
        ),
        (("-d.wav",), ["encode -- -d.wav", "decode ./-d.chirrup"], "-d.chirrup -d.decoded.wav"),
    ],
)
def test_names_that_nobody_has_given(
    recordings: Recordings, inputs: tuple[str, ...], lines: list[str], outputs: str
) -> None:
    """Every input has a separate output, and no recording is overwritten, even with -f."""
    for name in inputs:
        recordings.add(name)
    for line in lines * 2:
        assert run([line.split()[0], "-f", *line.split()[1:]]) == 0
    assert recordings.others() == set(outputs.split())


def test_a_folder_goes_on_over_what_cannot_be_read(
    recordings: Recordings, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/a.wav", "in/sub/deep/b.mp3", "in/.hidden/c.wav", "in/sub/A.flac"):
        recordings.add(name)
    for name in ("in/bad.wav", "in/notes.txt"):
        recordings.add(name, b"no audio")
    Path("in/link").symlink_to("sub")
    Path("in/lost.wav").symlink_to("nowhere")
    assert run(["encode", "in", "--out", "coded", "--workers", "2", "-b", "1k"]) == 2
    coded = {"coded/a.chirrup", "coded/sub/deep/b.chirrup", "coded/sub/A.chirrup"}
    assert recordings.others() == coded
    *lines, error, summary, left_out = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert error.startswith("chirrup: error: in/bad.wav cannot be read as audio")
    assert summary == "chirrup: 3 of 4 files done; 1 failed"
    assert left_out == "chirrup: left out: in/link, in/lost.wav, in/notes.txt"

    Path("coded/a.chirrup").unlink()
    kept = Path("coded/sub/A.chirrup").stat().st_mtime_ns
    assert run(["encode", "in", "coded", "-b", "1k"]) == 2
    assert "1 of 4 files done; 2 skipped because their outputs exist" in capsys.readouterr().err
    assert Path("coded/sub/A.chirrup").stat().st_mtime_ns == kept
    assert run(["encode", "in", "coded", "-b", "1k", "-f", "-q"]) == 2
    assert Path("coded/sub/A.chirrup").stat().st_mtime_ns != kept
    assert run(["decode", "coded", "--out", "decoded"]) == 0
    names = ("a", "sub/deep/b", "sub/A")
    decoded = {f"decoded/{name}.decoded.wav" for name in names}
    assert recordings.others() == coded | decoded


def test_a_folder_goes_on_over_what_may_not_be_read(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/a.wav", "in/b.wav", "in/closed/c.wav"):
        recordings.add(name)
    Path("out").mkdir()
    Path("out/b.chirrup").write_bytes(b"")
    list_folder, open_file = os.scandir, Path.open

    def listed(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    def opened(path: Path, *arguments: str, **options: int) -> object:
        if path.name == "b.chirrup":
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **options)  # pyright: ignore

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", listed)
        patch.setattr(Path, "open", opened)
        assert run(["encode", "in", "--out", "out"]) == 2
    assert Path("out/a.chirrup").stat().st_size > 0
    said = capsys.readouterr().err
    assert "chirrup: error: in/closed: Permission denied\n" in said
    assert "chirrup: error: out/b.chirrup exists and is not a .chirrup file" in said


def test_info_of_a_folder(
    recordings: Recordings, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/b.wav", "in/sub/a.flac", "in/.hidden/c.wav"):
        recordings.add(name)
    recordings.add("in/notes.txt", b"no audio")
    assert run(["encode", "in/b.wav", "in/one.chirrup", "-b", "1k", "-q"]) == 0
    assert run(["info", "in"]) == 0
    names = re.findall(r"^\S+$", capsys.readouterr().out, re.MULTILINE)
    assert names == ["in/b.wav", "in/one.chirrup", "in/sub/a.flac"]
    Path("one").mkdir()
    Path("in/one.chirrup").rename("one/one.chirrup")
    assert run(["info", "one", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    recordings.add("one/bad.chirrup", b"bad")
    assert run(["info", "one"]) == 2
    assert "duration:" in capsys.readouterr().out
    Path("empty").mkdir()
    assert run(["info", "empty"]) == 2
    assert (
        "empty has no .chirrup files, no audio files and no model.json" in capsys.readouterr().err
    )
    assert run(["info", str(model_folder)]) == 0


def test_two_outputs_of_one_name_are_refused(
    recordings: Recordings, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings.add("a/1.wav")
    recordings.add("b/1.wav")
    assert run(["encode", "a", "b", "--out", "x"]) == 2
    assert "a/1.wav and b/1.wav would both become x/1.wav.chirrup" in capsys.readouterr().err
    Path("empty").mkdir()
    assert run(["encode", "empty", "x"]) == 2
    assert "empty has no file that encoding takes" in capsys.readouterr().err
    assert recordings.others() == set()


def test_an_end_ends_the_work_on_every_input() -> None:
    """Running work stops after its current block, and no other work starts."""
    begun: list[Pair] = []

    def work(pair: Pair, progress: Progress) -> None:
        begun.append(pair)
        if len(begun) > 1:
            for done in itertools.count():
                progress(done, None)

    pairs = [Pair(Path(f"{number}"), Path(f"{number}.out")) for number in range(9)]
    for _ in run_each(pairs, work, workers=3):
        break
    assert 1 <= len(begun) <= 4


def test_a_signal_is_noticed_while_a_file_is_coded() -> None:
    """`interrupt_main` does not wake the main thread, like a signal that comes as a wait begins."""
    completed: list[Pair] = []

    def work(pair: Pair, progress: Progress) -> None:
        time.sleep(0.2)  # the main thread waits
        _thread.interrupt_main()
        for _ in range(200):
            time.sleep(0.05)
            progress(0, None)
        completed.append(pair)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(run_each([Pair(Path("a"), Path("b"))], work, 1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert completed == []


@pytest.mark.parametrize(
    ("sent", "options", "rest"),
    [
        (signal.SIGINT, [], "2 not done: run the command again to continue"),
        (signal.SIGTERM, ["-f"], "2 not done"),
    ],
)
def test_a_signal_ends_with_what_is_done(
    recordings: Recordings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sent: signal.Signals,
    options: list[str],
    rest: str,
) -> None:
    for name in ("in/a.wav", "in/b.wav", "in/c.wav"):
        recordings.add(name)

    def encode_until_b(codec: Any, source: Path, target: Path, **options: Any) -> Any:
        if source.name == "b.wav":
            os.kill(os.getpid(), sent)
            for done in itertools.count():
                options["progress"](done, None)
        return encode_file(codec, source, target, **options)

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    monkeypatch.setattr(files, "encode_file", encode_until_b)
    # A background job of a shell ignores SIGINT.
    handlers = {signal.SIGTERM: stop, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with pytest.raises(SystemExit) as end:
            sys.exit(run(["encode", "in", "--out", "out", *options]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert end.value.code == 128 + sent
    assert recordings.others() == {"out/a.chirrup"}
    assert f"chirrup: 1 of 3 files done; {rest}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("encode talk.wav --out x.wav", "after IN without --out, with the ending .chirrup"),
        ("decode a.chirrup --out x.flac", "after IN without --out, with the ending .wav"),
        ("encode talk.wav --out talk.wav", "talk.wav is the name of a file: name a folder"),
        ("encode in x.chirrup", "x.chirrup is the name of a file: name a folder"),
    ],
)
def test_no_folder_is_made_with_the_name_of_a_file(
    recordings: Recordings, capsys: pytest.CaptureFixture[str], line: str, advice: str
) -> None:
    for name in ("talk.wav", "in/b.wav"):
        recordings.add(name)
    recordings.add("a.chirrup", b"")
    assert run(line.split()) == 2
    assert advice in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} == {"talk.wav", "in", "a.chirrup"}


def test_lines_stand_above_the_bar(recordings: Recordings) -> None:
    pty = pytest.importorskip("pty")
    recordings.add("in/one.wav")
    recordings.add("in/two.wav")
    line = [sys.executable, "-m", "chirrup", "encode", "in", "--out", "out"]
    terminal, theirs = pty.openpty()
    with subprocess.Popen(line, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # at the end
            while data := os.read(terminal, 1 << 16):
                shown += data
        assert process.wait() == 0
    os.close(terminal)
    said = [text for text in re.split(r"[\r\n]+", shown.decode()) if "chirrup: " in text]
    assert len(said) == 3
    for text in said:
        assert re.match(r"(\x1b\[[0-9;?]*[a-zA-Z])*chirrup: ", text)
