"""Progress on a terminal: the time left, names as they are, and which codes a terminal gets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from rich.table import Table

from call_commands import RATE_HZ, SPEECH
from chirrup.cli import console, run

pty = pytest.importorskip("pty", reason="a system without pseudo-terminals")
COLOUR = re.compile(r"\x1b\[[\d;]*[34]\d[\d;]*m")


def on_terminal(folder: Path, *words: str, **variables: str) -> tuple[str, str]:
    """Run a command with standard error on a terminal of 80 columns; return stdout and stderr."""
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"COLUMNS": "80", "TERM": "xterm"} | variables
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "chirrup", *words]
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                data = os.read(ours, 10_000)
            except OSError:  # Linux: the other end is closed
                data = b""
            if not data:
                break
            seen += data
        out = process.stdout.read() if process.stdout else ""
    os.close(ours)
    assert process.returncode == 0, seen.decode()
    return out, seen.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        soundfile.write(tmp_path / f"talk [take {number}].wav", SPEECH[:RATE_HZ], RATE_HZ)
    return tmp_path


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_gets_what_it_can_show(folder: Path, variables: dict[str, str]) -> None:
    out, seen = on_terminal(folder, "encode", ".", "--out", "coded", **variables)
    assert out == ""
    assert "3 of 3 files done" in seen
    dumb = "TERM" in variables
    assert ("\x1b" in seen) != dumb
    assert bool(COLOUR.search(seen)) == (not variables)
    bar = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", seen)
    assert bool(re.search(r"talk \[take 3\]\.wav [━╸╺]+ 100% [\d:-]+ 3/3", bar)) != dumb


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_meters_rewrite_a_line_only_where_the_terminal_can(folder: Path, term: str) -> None:
    _, seen = on_terminal(folder, "send", "talk [take 1].wav", "127.0.0.1:9", TERM=term)
    assert "sent " in seen
    assert ("\x1b[K" in seen) == (term == "xterm")


def test_brackets_and_colons_in_tables_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("codec [a]", title="clean [b]")
    table.add_row("my [model] :smile:")
    console.print_table(table)
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("codec [a]", "clean [b]", "my [model] :smile:"))


@pytest.mark.parametrize("no_wrap", [True, False])
def test_a_narrow_terminal_cuts_no_word_of_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_wrap: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    names = ["spectro-small", "1,049", "16 to 24 kHz mono", "ViSQOL 3.34@2.75k ViSQOL 3.55@8k"]
    table = Table()
    for heading in ("model", "compressed", "of speech", "faster"):
        table.add_column(heading, no_wrap=no_wrap and heading != "model")
    table.add_row(*names)
    console.print_table(table)
    shown = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert {*" ".join(names).split(), "compressed"} <= {*shown.split()}


def test_the_list_of_models_begins_and_ends_with_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.strip() for line in lines)
