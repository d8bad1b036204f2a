"""The Python code and the commands of the README, and of the pages on files, run unchanged."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from file_samples import noise

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FILES, VOICE = (ROOT / "docs" / "how-to" / name for name in ("files.md", "voice.md"))
RECORDINGS = ("talk.wav", "song.flac", "her.wav", "talks/a.wav")


def test_the_python_of_the_readme_runs(model_folder: Path) -> None:
    assert model_folder.is_dir()
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), str(README), "exec"), {})


@pytest.mark.parametrize("page", [README, FILES, VOICE], ids=lambda page: page.stem)
def test_the_commands_run_in_order(page: Path, model_folder: Path, tmp_path: Path) -> None:
    """All commands from encode to convert run in a folder of recordings, and overwrite none."""
    text = page.read_text().replace("1:30", "0:01").replace("1:45", "0:02")
    lines = re.findall(r"^chirrup [^#\n]*|(?<=`)chirrup [^`]*", text, re.MULTILINE)
    lines = [line for line in lines if re.match(r"chirrup (encode|decode|info|convert) ", line)]
    assert lines
    (tmp_path / "far").mkdir()
    (tmp_path / "talks").mkdir()
    for name in RECORDINGS:
        soundfile.write(tmp_path / name, noise(72_000), 24_000)
    before = [(tmp_path / name).read_bytes() for name in RECORDINGS]
    chirrup = shlex.join([sys.executable, "-m", "chirrup"])
    script = f'set -e\nchirrup() {{ {chirrup} "$@"; }}; export -f chirrup\n'
    script += 'ssh() (cd $1; bash -c "$2")\n' + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / name).read_bytes() for name in RECORDINGS] == before
    if page == FILES:
        assert soundfile.info(tmp_path / "far" / "talk.wav").frames == 72_000
        assert soundfile.info(tmp_path / "talk.0m01-0m02.wav").frames == 24_000
