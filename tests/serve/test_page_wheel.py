"""The page of an installed wheel."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("build", "hatchling", "ziglang")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in PACKAGES),
        reason="needs the packages build, hatchling and ziglang",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Build a wheel of this checkout, and return a folder in which it is installed alone."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    done = subprocess.run([*build, tmp_path, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    options = ["--no-index", "--no-deps", "--no-compile", "--quiet", "--target", tmp_path / "here"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True)
    return tmp_path / "here"


def test_the_page_of_a_wheel_has_all_its_files(installed: Path, tmp_path: Path) -> None:
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert names == {"chirrup", "bin"}
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "chirrup", "page", "--no-browser", "--port", "0"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    try:
        assert server.stdout is not None
        (address,) = re.findall(r"http://\S+/", server.stdout.readline())

        def fetched(path: str) -> bytes:
            with urllib.request.urlopen(address + path) as answer:
                return answer.read()

        (kept,) = re.findall(r"FILES = (\[.*\]);", fetched("service-worker.js").decode())
        files = json.loads(kept)
        web = ROOT / "web"
        sources = {path.relative_to(web).as_posix() for path in web.rglob("*") if path.is_file()}
        assert sources - {"service-worker.js"} < set(files)
        assert {"chirrup.js", "chirrup.wasm", "clip.flac", "models.json"} < set(files)
        assert all(fetched(path) for path in files)
        models = json.loads(fetched("models.json"))
        assert models
        for model in models:
            assert len(fetched(model["program"])) == model["program_bytes"]
    finally:
        server.terminate()
        server.communicate()
