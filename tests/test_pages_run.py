"""The tutorial and the how-to pages run as printed, on one machine without devices.

The commands print the outputs that the pages show, apart from figures.

Microphone, loudspeaker, modem and the other machine are files and folders. `SMALLER` makes
trainings and evaluations short. `SKIPPED` and `NOT_RUN` have what does not run here, with reasons.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.serve.assets import ENGINE
from data_samples import noise, room, talk, write

DOCS = Path(__file__).parents[1] / "docs"
NOT_RUN = {
    "add-a-model": "has no commands before there is a model",
    "export": "exports for minutes; the tutorial and for-codec-research export",
    "fine-tune-or-resume": "trains for minutes, from a checkpoint that is only in a checkout",
    "train": "trains for minutes; the tutorial and for-codec-research train",
}
"""Reasons why pages do not run."""
PAGES = [
    page
    for kind in ("tutorial", "how-to")
    for page in sorted((DOCS / kind).glob("*.md"))
    if page.stem not in NOT_RUN
]
SKIPPED = {
    r"^chirrup (record|play) |^chirrup talk(?!.*--in)": "needs a microphone and a loudspeaker",
    r"^ffmpeg ": "needs ffmpeg and PulseAudio",
    r"^chirrup (page$|serve )|http\.server": "runs until Ctrl-C: see tests/serve and tests/web",
    r"\"hf://|^chirrup .* hf://|^hf ": "needs the network: see tests/test_hub.py",
    r"^chirrup data prepare vctk:": "needs data sets from the network",
    r"^chirrup data prepare .* --ray$": "needs Ray: see tests/data/test_prepare_again.py",
    r"^chirrup ratings ": "needs the ratings of listeners: see tests/cli/test_listening.py",
    r"^python (native|benchmarks|examples)/|^\./wav ": "scripts have tests of their own",
    **({} if ENGINE.exists() else {r"^chirrup page --out ": "needs the engine in WebAssembly"}),
}
"""Reasons why blocks do not run, by a pattern in the block."""
CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
SLOW = ("training", "for-codec-research")
"""Pages that train and export a model, which takes 30 s or more."""

PROGRAMS = f"""\
set -eo pipefail
python() {{ {shlex.quote(sys.executable)} "$@"; }}
chirrup() {{ python -m chirrup "$@"; }}
pip() {{ :; }}
apt-get() {{ :; }}
ssh() {{ mkdir -p far; (cd far; eval "${{@:2}}"); }}
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
    r"^chirrup train iris-t1-cpu": "chirrup train iris-t1-cpu model_changes.decoder_blocks=1",
    r"^chirrup talk --in": "chirrup talk --port 5004 --in",
    r"192\.0\.2\.1": "127.0.0.1",
    r" -c (?:opus|codec2)@\S+": "",  # programs that may be missing
    r"^(chirrup evaluate (?!.*-m )\S+ -c .*)": r"\1 -m snr",
    r"^(chirrup receive (?!.*--once)\S+ \S+)": r"\1 --once",
}
FIGURE = re.compile(r"\d[\d.,:]*(?: s\b)?|(?<!\S)-(?!\S)")
"""A number, a duration, or a score that is not there."""
ELSEWHERE = re.compile(r"training ━|complex |gradient |For scores: ")
"""Lines that only a terminal shows, or only an installation without scores."""


def shape(text: str) -> str:
    """Return an output without its figures, folders, line breaks and frames of tables."""
    text = re.sub(r"/\S+/", "/", FIGURE.sub("0", text))
    return re.sub(r"[\s━┏┳┓┡╇┩─└┴┘]+", " ", text).strip()


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the language, the text and the file of each fenced block that is not skipped.

    The file is the last name of a TOML or Python file in the paragraph before the block, if any.
    """
    for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        names = re.findall(r"`([\w-]+\.(?:toml|py))`", before)
        if not any(re.search(pattern, match[2], re.MULTILINE) for pattern in SKIPPED):
            yield match[1], match[2], names[-1] if names else ""


def shell(text: str, port: int) -> str:
    """Return the commands of a page as they run here. A receiver runs beside the next block."""
    for pattern, smaller in SMALLER.items():
        text = re.sub(pattern, smaller, text, flags=re.MULTILINE)
    return text.replace("5004", str(port)) + "\nwait"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, in which the pages run."""
    for speaker in range(4):
        for number in range(2):
            audio = talk(4.0, 24_000, seed=10 * speaker + number)
            write(tmp_path / "my-talks" / str(speaker) / f"{number}.wav", audio, 24_000)
    for number in range(2):
        write(tmp_path / "my-noise" / f"{number}.wav", noise(3.0, 24_000, number), 24_000)
        write(tmp_path / "my-rooms" / f"{number}.wav", room(0.3, 24_000, number), 24_000)
    for name in ("alice", "bob", "interview", "her", "words/anna__veal", "words/anna__feel"):
        write(tmp_path / f"{name}.wav", talk(1.5, 24_000, seed=len(name)), 24_000)
    stereo = np.stack([noise(1.0, 44_100, seed) for seed in (0, 1)], axis=1)
    write(tmp_path / "song.flac", stereo, 44_100)
    audio, rate_hz = soundfile.read(CLIP)
    for name in ("mic.wav", "talk.wav", "talks/joe.wav", "my-clips/joe.wav"):
        write(tmp_path / name, audio, rate_hz)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow if p.stem in SLOW else ()) for p in PAGES],
    ids=lambda page: f"{page.parent.name}-{page.stem}",
)
def test_the_page_runs_as_printed(page: Path, folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names: dict[str, object] = {}
    text, ran, players, receiver, printed = page.read_text(), 0, 0, None, ""
    for language, block, file in blocks(text):
        if file and language in ("toml", "python"):
            (folder / file).write_text(block)
        if language == "python":
            exec(compile(block, str(page), "exec"), names)
            ran += 1
        elif not language:
            script = ["bash", "-c", PROGRAMS + shell(block, port)]
            players += block.count("aplay")
            if block.startswith("chirrup receive") and "\n" not in block.strip():
                assert receiver is None or receiver.wait(60) == 0
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
    assert ran or not ENGINE.exists()
    assert receiver is None or receiver.wait(60) == 0
    played = list(folder.rglob("speaker-*"))
    assert all(path.stat().st_size > 100_000 for path in played)
    assert len(played) == players


@pytest.mark.parametrize("pattern", SKIPPED)
def test_a_block_is_skipped_by_each_pattern(pattern: str) -> None:
    assert any(re.search(pattern, page.read_text(), re.MULTILINE) for page in PAGES)
