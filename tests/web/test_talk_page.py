"""The page Talk in Chromium: two pages, and a page with ``chirrup talk``, over a relay."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

pytest.importorskip("aiohttp", reason="pip install 'chirrup[web]'")

from chirrup.cli.demo import CLIP
from chirrup.serve import assets
from chirrup.serve.relay import Limits
from relays import Running, running_relay

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE_S = 60
TAP = Path(__file__).with_name("tap.js")
TOKEN = "a-token-of-22-letters."
STEP_S = 0.01
LONGEST_DELAY_S = 0.4


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of speech, which the fake microphone plays."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    audio, rate_hz = soundfile.read(CLIP, dtype="float32")
    soundfile.write(path, np.resize(audio, 120 * rate_hz), rate_hz)
    return path


@pytest.fixture(scope="module")
def browser(launch: "Callable[..., Browser]", speech: Path) -> "Iterator[Browser]":
    launched = launch(f"--use-file-for-fake-audio-capture={speech}")
    yield launched
    launched.close()


@pytest.fixture
def relay(engine: None) -> Iterator[Running]:
    with running_relay(Limits(token=TOKEN), files=assets.files()) as running:
        yield running


@pytest.fixture
def site(relay: Running) -> str:
    return f"http://127.0.0.1:{relay.port}/"


def until(page: "Page", check: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, page.inner_text("main")
        page.wait_for_timeout(100)


def opened(context: "BrowserContext", room: str = "lab") -> "Page":
    page = context.new_page()
    page.add_init_script(path=TAP)
    page.goto(f"talk.html#room={room}")
    page.wait_for_selector("#join:enabled")
    page.evaluate("document.querySelector('details').open = true")
    page.fill("#token", TOKEN)
    return page


def levels(page: "Page", name: str, times_s: np.ndarray) -> np.ndarray:
    """Return the levels of a tap at times of the machine's clock."""
    found = np.array(json.loads(page.evaluate(f"JSON.stringify(taps.{name})")))
    return np.interp(times_s, found[:, 0] / 1000, found[:, 1])


def likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlation of two courses of levels for each delay of the second one."""
    delays = range(int(1.0 / STEP_S))
    count = len(one) - len(delays)
    return np.array([np.corrcoef(one[:count], other[n : n + count])[0, 1] for n in delays])


def join(page: "Page") -> None:
    page.click("#join")
    until(page, lambda: "in the room" in page.inner_text("#status"))


def heard(page: "Page", said: "Page") -> tuple[float, float, float]:
    """Return likeness, delay in seconds and relative level of the next 5 s that a page plays."""
    page.wait_for_timeout(6000)
    end_s = time.time() - 0.5
    times_s = np.arange(end_s - 5, end_s, STEP_S)
    given, played = levels(said, "input", times_s), levels(page, "output", times_s)
    found = likeness(given, played)
    return found.max(), found.argmax() * STEP_S, played.mean() / given.mean()


def test_two_pages_talk(context: "BrowserContext") -> None:
    ann, ben = opened(context), opened(context)
    ben.check("#push")  # sends nothing until the button is held
    join(ann)
    assert ann.inner_text("#status") == "Nobody else is in the room."
    join(ben)
    until(ann, lambda: ann.inner_text("#status") == "2 people are in the room.")
    until(ben, lambda: "delay about" in ben.inner_text("#others"))

    def is_good() -> bool:  # a busy machine may interrupt the audio for a while
        like, delay_s, gain = heard(ben, ann)
        return like > 0.8 and 0.02 < delay_s < LONGEST_DELAY_S and 0.5 < gain < 2

    until(ben, is_good)
    assert ann.inner_text("#sent").endswith("kbit/s")
    assert ben.inner_text("#sent") == "nothing"
    assert "silent" in ann.inner_text("#others")
    assert max(level for _, level in ann.evaluate("taps.output")) < 1e-3
    ben.keyboard.down("Space")
    until(ann, lambda: float(ann.get_attribute("#others meter", "value") or -60) > -30)
    ben.keyboard.up("Space")
    until(ann, lambda: "silent" in ann.inner_text("#others"))
    ann.click("#join")
    assert ann.inner_text("#status") == "You left the room."
    until(ben, lambda: ben.inner_text("#status") == "Nobody else is in the room.")
    assert ben.locator("#others li").count() == 0


def test_a_page_talks_with_the_command(
    context: "BrowserContext", relay: Running, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    audio, rate_hz = soundfile.read(CLIP, dtype="float32")
    soundfile.write(tmp_path / "voice.wav", np.resize(audio, 15 * rate_hz), rate_hz)
    ann, out = opened(context), tmp_path / "out.wav"
    join(ann)
    command = [sys.executable, "-m", "chirrup", "talk", relay.room("lab"), "--json"]
    command += ["--in", str(tmp_path / "voice.wav"), "--out", str(out)]
    command += ["--token-file", str(tmp_path / "token"), "--bitrate", "3k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            until(ann, lambda: "iris-t1, 3 kbit/s" in ann.inner_text("#others"))
            until(ann, lambda: "delay about" in ann.inner_text("#others"))
            ann.wait_for_timeout(8000)
            played = np.array(ann.evaluate("taps.output"))[:, 1]
            process.terminate()
            lines, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert 0.01 < np.sqrt(np.square(played).mean()) < 0.3
    assert played.std() > 0.5 * played.mean()  # words and pauses
    meters = [json.loads(line) for line in lines.splitlines()]
    now = meters[-1]
    assert now["final"]
    assert now["sent"]["reports"] >= 3
    assert 0 < now["sent"]["round_trip_ms"] < 2000
    assert now["received"]["lost"] == 0
    assert now["received"]["received"] > 200
    delays_ms = [of["received"]["delay_ms"] for of in meters if "delay_ms" in of["received"]]
    assert min(delays_ms) < 1000 * LONGEST_DELAY_S  # a busy machine may raise it for a while
    heard, heard_rate_hz = soundfile.read(out)
    settled = heard[heard_rate_hz:]  # before, the browser's automatic gain is up to 8 dB too high
    assert settled.std() == pytest.approx(audio.std(), rel=0.5)
    until(ann, lambda: ann.inner_text("#status") == "Nobody else is in the room.")


def test_keys_are_those_of_the_command(
    context: "BrowserContext", relay: Running, tmp_path: Path
) -> None:
    """A page with the key plays what the command sends; a page without it states why not."""
    pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "key").write_bytes(bytes(range(32)))
    ann, ben = opened(context), opened(context)
    ann.set_input_files("#key-file", tmp_path / "key")
    for page in (ann, ben):
        page.check("#push")
        join(page)
    room, audio = relay.room("lab"), tmp_path / "voice.wav"
    samples, rate_hz = soundfile.read(CLIP, dtype="float32")
    soundfile.write(audio, np.resize(samples, 60 * rate_hz), rate_hz)
    options = ["--key-file", tmp_path / "key", "--token-file", tmp_path / "token", "--json"]
    command = [sys.executable, "-m", "chirrup", "send", audio, room, *options]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL) as process:
        try:
            until(ann, lambda: "delay about" in ann.inner_text("#others"))
            until(ben, lambda: "with a key, and this page has none" in ben.inner_text("#warning"))
            until(ann, lambda: max(level for _, level in ann.evaluate("taps.output")) > 0.03)
        finally:
            process.kill()
    assert ann.locator("#others li").count() == 1  # ben's datagrams are in clear
    assert ben.locator("#others li").count() == 0


def test_what_is_wrong_is_stated(context: "BrowserContext", relay: Running) -> None:
    page = opened(context)
    page.fill("#token", "another-token-which-is-wrong")
    page.click("#join")
    until(page, lambda: "does not accept this token" in page.inner_text("#status"))
    assert page.inner_text("#join") == "Join"
    page.fill("#token", TOKEN)
    page.fill("#relay", "ftp://example.org")
    page.click("#join")
    assert "is not an address of a relay" in page.inner_text("#status")
    page.fill("#passphrase", "too short")
    page.fill("#relay", page.evaluate("location.origin"))
    page.click("#join")
    until(page, lambda: "The passphrase has 9 characters" in page.inner_text("#status"))
    page.fill("#passphrase", "")
    relay.relay.rooms["lab"] = {object() for _ in range(8)}  # pyright: ignore[reportArgumentType]
    page.click("#join")
    until(page, lambda: "is full: choose another room" in page.inner_text("#status"))
    relay.relay.rooms.clear()
    page.click("#new-room")
    join(page)
    assert page.evaluate("location.hash") == f"#room={page.input_value('#room')}"
