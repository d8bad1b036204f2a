"""The audio worklet of native/example in a headless browser, against the engine in C."""

import http.server
import importlib.util
import os
import queue
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from small_model import speech_like
from small_programs import programs

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
BROWSER = shutil.which("chromium")
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-port=0",
]
BUILD = [sys.executable, str(NATIVE / "build.py")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
    pytest.mark.skipif(
        importlib.util.find_spec("ziglang") is None, reason="needs the package ziglang"
    ),
]


class Site(http.server.SimpleHTTPRequestHandler):
    """A folder of files, and a queue of the messages that pages post."""

    posted: queue.Queue[bytes]

    def do_POST(self) -> None:
        self.posted.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serve ``tmp_path`` and return its address."""
    Site.posted = queue.Queue()
    handler = partial(Site, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_a_worklet_computes_what_the_engine_computes(site: str, tmp_path: Path) -> None:
    assert BROWSER
    wasm = [*BUILD, "--target", "wasm32-freestanding", "--out", str(tmp_path)]
    subprocess.run(wasm, check=True, capture_output=True)
    scripts = (NATIVE / "wasm" / "chirrup.js", NATIVE / "example" / "worklet.js")
    for path in (*scripts, Path(__file__).with_name("worklet.html")):
        shutil.copy(path, tmp_path)
    data = dict(programs())["iris"]
    (tmp_path / "model.chirp").write_bytes(data)
    (step,) = struct.unpack_from("<I", data, 96 + 24)
    speech_like(20 * step, 1).astype("<f4").tofile(tmp_path / "in.f32")

    command = [BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'user'}", f"{site}/worklet.html"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        posted = Site.posted.get(timeout=60)
    finally:
        browser.terminate()
        browser.wait()
    assert len(posted) == 4 * 20 * step, posted[:200]

    here = tmp_path / "here"
    subprocess.run([*BUILD, "--out", str(here)], check=True, capture_output=True)
    driver = Path(__file__).with_name("driver.c")
    compiler = ["cc", f"-I{NATIVE}", driver, f"-L{here}", "-lchirrup", "-o", here / "driver"]
    subprocess.run(compiler, check=True)
    names = ["model.chirp", "in.f32", "codes.i32", "out.f32"]
    loader = os.environ | {"LD_LIBRARY_PATH": str(here)}
    subprocess.run([here / "driver", *names], cwd=tmp_path, env=loader, check=True)
    expected = np.fromfile(tmp_path / "out.f32", np.float32)[:-step]
    error = np.frombuffer(posted, np.float32)[step:] - expected
    assert np.square(error).mean() < 1e-8 * np.square(expected).mean()
