"""Every error is one line with exit code 2, and leaves no files."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.cli import console, run
from chirrup.errors import FileError

COMMAND = [sys.executable, "-m", "chirrup"]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("encode none.wav", "none.wav does not exist"),
        ("encode none/in.wav", "error: none/in.wav does not exist\n"),
        ("decode none/in.chirrup", "error: none/in.chirrup does not exist\n"),
        ("bare none/in.wav none/x", "error: none/in.wav does not exist\n"),
        ("encode empty.wav", "empty.wav cannot be read as audio: it is empty: give a recording\n"),
        ("info empty.wav", "cannot be read as audio: it is empty: give a recording\n"),
        ("decode empty.wav x.wav", "error: empty.wav: the file is empty: get a fresh copy\n"),
        ("encode .", "is a folder: name one for the outputs with --out FOLDER"),
        ("encode text.wav", "text.wav cannot be read as audio"),
        (
            "encode memo.m4a x",
            "convert it first, with ffmpeg -i memo.m4a memo.wav\n",
        ),
        ("encode text.raw", "give its format, for example --raw s16@24000x1"),
        ("encode talk.wav", "talk.chirrup exists: give another output, or overwrite it with --for"),
        (
            "encode talk.wav x.mp3 -f",
            "but encode writes .chirrup files: give for example x.chirrup\n",
        ),
        ("encode talk.wav take", "take exists and is not a .chirrup file: give another output\n"),
        (
            "encode talk.wav take -f",
            "take exists and is not a .chirrup file: give another output\n",
        ),
        ("encode talk.wav mono.wav x", "x does not exist; a folder for the outputs is named with"),
        ("encode talk.wav mono.wav -", "- is standard input, so the output has no name"),
        ("encode . -", "- takes only one output"),
        ("encode . take", "take is the name of a file: name a folder"),
        ("encode talk.wav none/", "the folder none/ does not exist: make it"),
        ("encode take take -f", "is both input and output"),
        ("encode talk.wav none/x.chirrup", "the folder none does not exist"),
        ("encode talk.wav x -b 7k", "no bitrate of 7000 bit/s; it has 500, 1000, 1500,"),
        ("encode talk.wav x -b 1e999", "is not a bitrate: use for example 6000 or 6k"),
        ("encode talk.wav x --bitrate fast", "'fast' is not a bitrate"),
        ("encode talk.wav x --metadata title", "is not of the form key=value"),
        ("encode talk.wav x --metadata title=\udcff", "'title=\\xff' is not UTF-8, so convert"),
        ("bare talk.wav x --text \udcff", "'--text': '\\xff' is not UTF-8, so convert it: see"),
        ("blind-test none --out x --title \udcff", "'--title': '\\xff' is not UTF-8, so convert"),
        ("data prepare none --licence \udcff", "'--licence': '\\xff' is not UTF-8, so convert"),
        ("encode talk.wav x --model none", "no model 'none'"),
        ("encode talk.wav x --raw s16", "for example s16@24000x1"),
        ("decode take --raw s16", "takes no format such as s16: it writes s16, or f32 with"),
        ("decode take --raw s24@48000x2", "takes no format such as s24@48000x2"),
        ("encode many.wav x", "use 1 to 16"),
        (
            "encode slow.wav x --stereo mid",
            "Invalid value for '--stereo': 'mid' is not one of '",
        ),
        (
            "encode talk.wav --workers two",
            "'--workers': 'two' is not a whole number: see ch",
        ),
        ("encode talk.wav x -b", "Option '-b' requires an argument: see chirrup encode --help\n"),
        ("encode talk.wav x --mix=1", "does not take a value: see chirrup encode --help\n"),
        ("data prepare --out", "requires an argument: see chirrup data prepare --help\n"),
        ("encode talk.wav --workers {ge}", "'--workers': '{ge}' is not a whole number"),
        ("encode talk.wav --workers 0", "'--workers': '0' is less than 1"),
        ("encode talk.wav --chunk long", "'--chunk': 'long' is not a number"),
        ("send talk.wav a:1 --redundancy 99", "'--redundancy': '99' is more than 16"),
        ("encode mono.wav x --stereo mid-side", "need 2 channels, but mono.wav has 1: leave out"),
        ("encode talk.wav x --stereo mid-side --mix", "choose one"),
        ("encode slow.wav x", "sample rate of 100 Hz: use 1000 to"),
        ("encode", "Missing argument"),
        ("encode talk.wav --frobnicate", "--frobnicate"),
        (
            "encode -dash.wav",
            "No such option: -d: name the file as ./-dash.wav, or see chirr",
        ),
        ("encode head.chirrup x", "it is a .chirrup file already, which chirrup decode turns into"),
        ("frobnicate", "frobnicate"),
        ("decode talk.wav x.wav", "talk.wav: not a .chirrup file: chirrup encode makes one"),
        ("decode none.chirrup", "none.chirrup does not exist"),
        ("decode head.chirrup x.wav", "head.chirrup: the file ends inside its header"),
        (
            "decode talk.chirrup talk.wav",
            "talk.wav exists: give another output, or overwrite it with --fo",
        ),
        ("decode talk.chirrup x.chirrup", "use .wav, .flac"),
        ("decode talk.chirrup x.xyz", "use .wav, .flac"),
        ("decode talk.chirrup x.flac --float", "FLAC has no floating point"),
        ("decode talk.chirrup x.wav --rate 8000 --keep-rate", "choose one"),
        ("decode talk.chirrup x.wav --from soon", "'soon' is not a time: use seconds"),
        ("decode talk.chirrup x.wav --from 3 --to 2", "from 3 s to 2 s is not a part of a file"),
        ("decode talk.chirrup x.wav --from 1:00", "talk.chirrup ends before 60 s"),
        ("decode talk.chirrup x.wav --rate 1", "use --rate with 1000 to"),
        ("decode talk.chirrup x.mp3 --rate 9999", "choose another format or --rate"),
        ("info none", "none does not exist, and no model has this name: give a file, a folder or"),
        ("info none.wav", "none.wav does not exist"),
        ("info text.wav", "text.wav is not a .chirrup file and cannot be read as audio"),
        ("info head.chirrup", "head.chirrup: the file ends inside its header"),
        ("encode talk.wav x --model .", "no model"),
        ("audit none", "no model 'none'"),
        ("demo talk.wav", "is not a folder"),
        ("demo x --model none", "no model 'none'"),
        ("train none.toml --out x", "no recipe 'none.toml': give a file, or one of"),
        ("train text.wav --out talk.wav", "is not a folder"),
        ("train text.wav", "--out"),
        ("train text.wav --out x key", "'key' is not of the form key=value"),
        ("export none x", "none does not exist"),
        ("export text.wav x --audio none", "none does not exist"),
        ("export --untrained oris x", "oris cannot be exported: no model is called 'oris'"),
        ("export --untrained tq x --int8 both", "--untrained takes no --pack, --int8"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    line: str,
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    for name in ("text.wav", "text.raw", "-dash.wav"):
        Path(name).write_text("no audio")
    Path("memo.m4a").write_bytes(bytes(4) + b"ftypM4A " + bytes(100))
    Path("empty.wav").touch()
    Path("head.chirrup").write_bytes(Path("talk.chirrup").read_bytes()[:50])
    soundfile.write("many.wav", np.zeros((10, 17)), 24_000)
    soundfile.write("slow.wav", np.zeros(10), 100)
    soundfile.write("mono.wav", np.zeros(10), 24_000)
    soundfile.write("take", np.zeros(10), 24_000, format="WAV")
    before = names(folder)
    assert run(line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("chirrup: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert names(folder) == before


def test_a_full_disk(folder: Path, tmp_path: Path) -> None:
    script = 'ulimit -f 1; exec "$@"'
    for arguments in (
        ["encode", folder / "talk.wav", tmp_path / "x.chirrup", "-b", "6k"],
        ["decode", folder / "talk.chirrup", tmp_path / "x.wav"],
        ["decode", folder / "talk.chirrup", tmp_path / "x.flac"],
    ):
        line = ["bash", "-c", script, "bash", *COMMAND, *map(str, arguments)]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
        assert str(arguments[2]) in result.stderr
        assert names(tmp_path) == set()


def test_a_disk_that_is_full_in_a_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limited_size: Callable[[int], None]
) -> None:
    limited_size(100_000)
    assert run(["demo", str(tmp_path / "demo")]) == 2
    assert "original.wav cannot be written: File too large" in capsys.readouterr().err
    assert names(tmp_path) == set()


def test_a_demo_goes_over_no_recording_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "original.wav").write_bytes(b"half of one")
    assert run(["demo", str(tmp_path)]) == 2
    assert "is not of an earlier demo" in capsys.readouterr().err
    assert (tmp_path / "original.wav").read_bytes() == b"half of one"


def test_a_damaged_file_is_decoded_with_warnings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray((folder / "talk.chirrup").read_bytes())
    data[200] ^= 1
    (tmp_path / "bad.chirrup").write_bytes(data)
    assert run(["decode", str(tmp_path / "bad.chirrup")]) == 0
    assert "chirrup: warning: " in capsys.readouterr().err
    assert soundfile.info(tmp_path / "bad.decoded.wav").frames == 44_101
    assert run(["info", str(tmp_path / "bad.chirrup"), "--check"]) == 2
    assert "are not a chunk" in capsys.readouterr().out


def test_no_audio_at_all(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("empty.wav", np.zeros(0), 24_000)
    assert run(["encode", "empty.wav"]) == 0
    assert run(["info", "empty.chirrup", "--check"]) == 0
    assert run(["decode", "empty.chirrup", "out.wav"]) == 0
    assert soundfile.info("out.wav").frames == 0
    result = subprocess.run([*COMMAND, "encode", "-"], input=b"", capture_output=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith(
        b"chirrup: error: standard input cannot be read as audio: it is empty"
    )


def test_errors_print_names_as_summaries_do(
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"a\nb\xff.wav")
    assert run(["encode", name]) == 2
    assert capsys.readouterr().err == "chirrup: error: a\\nb\\xff.wav does not exist\n"
    try:
        raise FileError(f"{name}: two\n  lines") from RuntimeError("two\n  lines")
    except FileError as error:
        console.fail(error)
    assert capsys.readouterr().err == "chirrup: error: a\\nb\\xff.wav: two lines\n"
    soundfile.write("talk.wav", np.zeros(10_000), 24_000)
    Path("talk.wav").rename(name)
    assert run(["encode", name]) == 0
    assert capsys.readouterr().err.startswith("chirrup: a\\nb\\xff.chirrup: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "line", ["models", "--version", "encode talk.wav -", "info --json talk.wav"]
)
def test_a_full_standard_output_is_named(folder: Path, line: str) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*COMMAND, *line.split()], stdout=full, stderr=subprocess.PIPE, cwd=folder, check=False
        )
    said = b"chirrup: error: standard output cannot be written: No space left on device\n"
    assert (result.returncode, result.stderr) == (2, said)


@pytest.mark.parametrize(("samples", "rated"), [(1, False), (2_300, False), (24_000, True)])
def test_very_short_audio_has_no_bitrate_with_the_header(
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    samples: int,
    rated: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("short.wav", np.zeros(samples), 24_000)
    assert run(["encode", "short.wav"]) == 0
    assert ("kbit/s" in capsys.readouterr().err) == rated
    assert run(["info", "short.chirrup"]) == 0
    assert ("kbit/s of file" in capsys.readouterr().out) == rated


def test_without_torch_commands_say_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    training = ["train", "recipe.toml", "--out", "x"]
    for arguments in (training, ["export", "recipe.toml", "x"], ["audit", "tq"]):
        code = (
            "import sys\nsys.modules['torch'] = None\n"
            f"from chirrup.cli import run\nsys.exit(run({arguments!r}))"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert result.returncode == 2
        assert result.stderr.count("\n") == 1
        assert "pip install 'chirrup[train]'" in result.stderr
        assert names(tmp_path) == {"recipe.toml"}


def test_an_empty_argument_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be the current folder: an unset variable in a shell gives one."""
    assert run(["encode", "", "--out", str(tmp_path / "coded")]) == 2
    assert "an argument is empty" in capsys.readouterr().err
    assert names(tmp_path) == set()
