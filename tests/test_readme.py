"""The Python code and the commands of the README run unchanged."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import soundfile

from file_samples import noise

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs(model_folder: Path) -> None:
    assert model_folder.is_dir()
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), str(README), "exec"), {})


def test_the_commands_of_the_readme_run_in_order(model_folder: Path, tmp_path: Path) -> None:
    """All commands from encode to convert run in a folder of recordings, and overwrite none of
    them."""
    text = README.read_text().replace("1:30", "0:01").replace("1:45", "0:02")
    lines = re.findall(r"^chirrup [^#\n]*|(?<=`)chirrup [^`]*", text, re.MULTILINE)
    lines = [line for line in lines if re.match(r"chirrup (encode|decode|info|convert) ", line)]
    assert len(lines) >= 7
    (tmp_path / "far").mkdir()
    (tmp_path / "talks").mkdir()
    recordings = ("talk.wav", "song.flac", "her.wav", "talks/a.wav")
    for name in recordings:
        soundfile.write(tmp_path / name, noise(72_000), 24_000)
    before = [(tmp_path / name).read_bytes() for name in recordings]
    chirrup = shlex.join([sys.executable, "-m", "chirrup"])
    script = f'set -e\nchirrup() {{ {chirrup} "$@"; }}; export -f chirrup\n'
    script += 'ssh() (cd $1; bash -c "$2")\n' + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / name).read_bytes() for name in recordings] == before
    assert soundfile.info(tmp_path / "far" / "talk.wav").frames == 72_000
    assert soundfile.info(tmp_path / "talk.0m01-0m02.wav").frames == 24_000
