"""The manners of all commands: help, completion, colours, the width of 80 columns."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import chirrup
from chirrup.cli import app, completion, run
from chirrup.cli.console import parse_bitrate
from chirrup.installation import needs, uses

COMMAND = [sys.executable, "-m", "chirrup"]


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command with its words, groups included."""
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_fits_80_columns_and_explains_every_option(
    words: tuple[str, ...],
    option: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*words, option]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(['chirrup', *words])} ")
    assert [line for line in text.splitlines() if len(line) > 80] == []
    listed = text.partition("\nCommands:\n")[2]
    assert not re.findall(r".*\.\.\.$", listed, re.M), "the first sentence of a docstring is cut"
    parameters = COMMANDS[words].params
    assert [p.name for p in parameters if not getattr(p, "help", None)] == []
    assert not re.findall(r"<\w|[{}]", text), "a name of a Python type, or Typer's braces"
    values = [p for p in parameters if not getattr(p, "is_flag", False)]
    assert [p.name for p in values if p.metavar is None] == []


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("encode", "IN..."),
        ("record", "[OUT]"),
        ("send", "SOURCE HOST:PORT|name:NAME|ws://HOST/relay/ROOM"),
        ("train", "RECIPE [KEY=VALUE]..."),
        ("data prepare", "[[LAYOUT:]FOLDER]..."),
    ],
)
def test_usage(command: str, arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "-h"]) == 0
    usage = capsys.readouterr().out.partition("\n")[0]
    assert usage == f"Usage: chirrup {command} [OPTIONS] {arguments}"


ADDITIONS = {
    *("raw", "metadata", "text", "simulate", "announce", "token_file"),
    *("sdp", "record", "pack", "test", "ratings"),
}
"""Options whose absence needs no words: without them the command does less."""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_states_what_happens_without_an_option(words: tuple[str, ...]) -> None:
    """Typer prints a default value; the default of None needs words."""
    unknown = [
        p.name
        for p in COMMANDS[words].params
        if p.param_type_name == "option"
        and not getattr(p, "is_flag", False)
        and p.default is None
        and not p.required
        and p.name not in ADDITIONS
        and "default" not in p.help.lower()
    ]
    assert unknown == []
    rates = [p.help for p in COMMANDS[words].params if p.name == "bitrate"]
    default = f"{chirrup.load('iris-t1').default_bitrate_bps / 1000:g}k for iris-t1"
    assert all(default in text for text in rates) or words == ("message",)


def test_info_has_the_default_bitrate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "iris-t1"]) == 0
    assert "by default 6\n" in capsys.readouterr().out


def completed(words: str) -> list[str]:
    """Return the words with which bash completes a line."""
    count = len(words.split()) - (not words.endswith(" "))
    env = {"COMP_WORDS": words, "COMP_CWORD": str(count), "_CHIRRUP_COMPLETE": "complete_bash"}
    done = subprocess.run(COMMAND, env=os.environ | env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("chirrup en", ["encode"]),
        ("chirrup encode --mo", ["--model"]),
        ("chirrup encode a.wav --model iris", ["iris-t1", "iris-t2"]),
        ("chirrup encode a.wav -b 1", ["1k", "1.5k"]),
        ("chirrup encode a.wav -b 15", ["1500"]),
        ("chirrup record -b 5", ["5k", "5.5k"]),
        ("chirrup talk --model spectro-small -b 2", ["2.75k"]),
        ("chirrup encode --model hf://owner/name -b ", []),
        ("chirrup encode ", []),
        ("chirrup audit foc", ["focal-small"]),
        ("chirrup info iris-t1", ["iris-t1", "iris-t1.wav", "iris-t1s/"]),
        ("chirrup info lrac", ["lrac-t1", "lrac-t2"]),
        ("chirrup info talk", []),
        ("chirrup train iris-t1", ["iris-t1", "iris-t1-cpu", "iris-t1-cpu-more"]),
        ("chirrup data prepare x --recipe ", ["as-is", "curated"]),
        ("chirrup evaluate -c opus", ["opus", "opus-cbr"]),
    ],
)
def test_a_shell_completes_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("iris-t1.wav").touch()
    Path("iris-t1s").mkdir()
    assert completed(words) == expected


def test_completed_bitrates_are_those_that_a_model_was_trained_for() -> None:
    context = typer.Context(COMMANDS[("encode",)])
    for name in chirrup.models():
        context.params["model"] = name
        words = completion.bitrates(context, "")
        codec = chirrup.load(name)
        trained = [rate for rate in codec.bitrates_bps if rate >= codec.lowest_bitrate_bps]
        assert [parse_bitrate(word) for word in words] == trained


def test_completion_opens_no_engine() -> None:
    code = (
        "import sys\nfrom chirrup.cli import completion\nfrom chirrup.runtime import native\n"
        "class Context: params = {'model': 'iris-t1'}\n"
        "assert completion.bitrates(Context, '')\n"
        "assert completion.codecs('') and completion.training_recipes('')\n"
        "assert native.library.cache_info().misses == 0\n"
        "assert not {'torch', 'onnxruntime', 'scipy', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "line",
    ["models", "audit iris-t1", "info iris-t1", "--version", "doctor", "demo d"],
)
def test_no_colours_in_a_pipe_and_80_columns(
    line: str, tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    assert run(line.split()) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    for text in shown.out.splitlines():
        assert len(text) <= 80 or " " not in text.strip(), "only a word may be longer"


def test_version_names_the_engines_and_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"chirrup {chirrup.__version__}"
    assert any(line.startswith("  onnx ") for line in lines)
    weights = chirrup.load("iris-t1").weights_sha256[:8]
    assert [line for line in lines if "iris-t1" in line and f"weights {weights}" in line]


def test_doctor_names_what_is_missing_and_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chirrup.installation.check_models", list)
    monkeypatch.setattr(needs, "lacking", lambda extra="": ["zeroconf"] if extra == "live" else [])
    monkeypatch.setattr(needs, "find_library", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    live = next(use for use in uses() if use.name == "live")
    assert live.missing == ("zeroconf", "PortAudio")
    assert live.commands == ("pip install 'chirrup[live]'", "apt-get install libportaudio2")
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "missing: zeroconf, PortAudio\n" in out
    assert "  pip install 'chirrup[live]'\n" in out


def test_doctor_fails_without_a_package_that_everything_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chirrup.installation.check_models", list)
    monkeypatch.setattr(needs, "lacking", lambda extra="": [] if extra else ["soxr"])
    assert run(["doctor", "--json"]) == 2
    files = next(u for u in json.loads(capsys.readouterr().out)["uses"] if u["name"] == "files")
    assert files["missing"] == ["soxr"]
    assert files["commands"] == ["pip install --upgrade chirrup"]


OPTIONS = [
    (words, option)
    for words, command in COMMANDS.items()
    for option in command.params
    if option.name in ("model", "bitrate")
]


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=lambda x: getattr(x, "name", None))
def test_every_model_and_bitrate_is_completed(words: tuple[str, ...], option: Any) -> None:
    assert option.shell_complete(typer.Context(COMMANDS[words]), "") != []
