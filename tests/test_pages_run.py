"""The tutorial and the pages for the kinds of users run as printed, on one machine without devices.

The outputs on the pages are those of the commands, apart from figures.

Microphone, loudspeaker and modem are files. Trainings have a step a stage; nothing else is changed.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

import chirrup
from data_samples import noise, talk, write

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    *sorted((DOCS / "tutorial").glob("*.md")),
    *sorted((DOCS / "how-to").glob("for-*.md")),
]
CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
SLOW = ("training", "for-codec-research")
"""Pages that train and export the shipped architecture, which takes 30 s or more."""

PROGRAMS = f"""\
set -eo pipefail
chirrup() {{ {shlex.join([sys.executable, "-m", "chirrup"])} "$@"; }}
pip() {{ :; }}
arecord() {{
    case "$*" in
        *" raw "*) tail -c +45 mic.wav ;;
        *.wav) cp mic.wav "${{@: -1}}" ;;
        *) cat mic.wav ;;
    esac
}}
aplay() {{
    case "$*" in
        *.wav) cp "${{@: -1}}" "speaker-$RANDOM" ;;
        *) cat > "speaker-$RANDOM" ;;
    esac
}}
modem() {{ if [ $# = 0 ]; then cat > air; else cat air; fi; }}
"""
SMALLER = {
    r"(steps|validate_every)=[1-9]\d*": r"\1=1",
    r"initialise_batches=\d+": "initialise_batches=12",
    r"batch_size=\d+": "batch_size=2",
    r"192\.0\.2\.1": "127.0.0.1",
}
FIGURE = re.compile(r"\d[\d.,:]*(?: s\b)?|(?<!\S)-(?!\S)")
"""A number, a duration, or a score that is not there."""
ELSEWHERE = re.compile(r"training ━|complex |gradient |For scores: ")
"""Lines that only a terminal shows, or only an installation without scores."""


def shape(text: str) -> str:
    """Return an output without its figures, folders, line breaks and frames of tables."""
    text = re.sub(r"/\S+/", "/", FIGURE.sub("0", text))
    return re.sub(r"[\s━┏┳┓┡╇┩─└┴┘]+", " ", text).strip()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def shell(text: str, port: int) -> str:
    """Return the commands of a page as they run here. A receiver runs beside the next block."""
    for pattern, smaller in SMALLER.items():
        text = re.sub(pattern, smaller, text)
    return text.replace("5004", str(port))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, in which the pages run."""
    for speaker in range(4):
        for number in range(2):
            audio = talk(4.0, 24_000, seed=10 * speaker + number)
            write(tmp_path / "my-talks" / str(speaker) / f"{number}.wav", audio, 24_000)
    for number in range(2):
        write(tmp_path / "my-noise" / f"{number}.wav", noise(3.0, 24_000, number), 24_000)
    audio, rate_hz = soundfile.read(CLIP)
    for name in ("mic.wav", "talks/joe.wav", "my-clips/joe.wav"):
        write(tmp_path / name, audio, rate_hz)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, id=p.stem, marks=pytest.mark.slow if p.stem in SLOW else ()) for p in PAGES],
)
def test_the_page_runs_as_printed(page: Path, folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names: dict[str, object] = {}
    text, ran, receiver, printed = page.read_text(), 0, None, ""
    for language, block in blocks(text):
        if language == "toml":
            (name,) = set(re.findall(r"`([\w-]+\.toml)`", text))
            (folder / name).write_text(block)
        elif language == "python":
            exec(compile(block, str(page), "exec"), names)
            ran += 1
        elif not language:
            script = ["bash", "-c", PROGRAMS + shell(block, port)]
            if block.startswith("chirrup receive") and "\n" not in block.strip():
                receiver = subprocess.Popen(script)
                continue
            one = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            done = subprocess.run(script, **one, env=os.environ | {"COLUMNS": "80"})
            assert done.returncode == 0, block + done.stdout
            printed += done.stdout
            ran += 1
        elif language == "text":
            shown = [shape(line) for line in block.splitlines() if not ELSEWHERE.match(line)]
            assert [line for line in shown if line not in shape(printed)] == [], printed
    assert ran
    assert receiver is None or receiver.wait(60) == 0
    played = list(folder.glob("speaker-*"))
    assert all(path.stat().st_size > 100_000 for path in played)
    commands = "".join(block for language, block in blocks(text) if not language)
    assert len(played) == commands.count("aplay")
