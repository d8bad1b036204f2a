"""The report in a real browser, Debian's chromium, which the DevTools pipe controls."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chirrup.evaluate.metrics import METRICS as ALL_METRICS
from chirrup.evaluate.report import write_report
from evaluate.test_report_samples import CLIP_S, METRICS, made_up, write_audio

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--remote-debugging-pipe",
]
PATIENCE_S = 30

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


class Browser:
    """A page of a headless Chromium, with the messages of its console."""

    def __init__(self, profile: Path) -> None:
        commands, self._send = os.pipe()
        self._receive, answers = os.pipe()
        for pipe in (commands, answers):
            os.set_inheritable(pipe, True)
        # DevTools reads from file 3 and writes to file 4.
        plumbing = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbing, "-", CHROMIUM or "", *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._count, self._unread, self._session = 0, b"", None
        self.console: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for part in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{part}.enable")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        os.close(self._send)
        os.close(self._receive)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, expression: str) -> Any:
        """Return the awaited value of JavaScript, which has the rights of a click."""
        how = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until ``expression`` is true, and return its value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)
        return value

    def click(self, selector: str, across: float = 0.5) -> None:
        """Click an element, at the share ``across`` of its width."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x, b.y, b.width, b.height]; })()"
        )
        place = {"x": box[0] + across * box[2], "y": box[1] + box[3] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._receive], [], [], PATIENCE_S)
            assert ready, "the browser does not answer"
            received = os.read(self._receive, 1 << 20)
            assert received, "the browser is gone"
            self._unread += received
        message, _, self._unread = self._unread.partition(b"\0")
        answer = json.loads(message)
        params = answer.get("params", {})
        if answer.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif answer.get("method") == "Runtime.consoleAPICalled":
            self.console.append(str(params["args"]))
        elif answer.get("method") == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif answer.get("method") == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.console.append(f"asked for {url}")
        return answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """The opened report of three codecs at two bitrates."""
    results = made_up()
    write_audio(results, tmp_path)
    write_report(results, tmp_path, tmp_path / "report.html", METRICS, listen=2)
    browser.console.clear()
    browser.open(tmp_path / "report.html")
    return browser


POSITION = "Number(document.querySelector('.clip .position').value)"
PLAYING = "document.querySelector('.playing .name')?.textContent"


def test_the_console_has_no_messages(page: Browser) -> None:
    assert page.evaluate("document.querySelectorAll('.clip').length") == 2
    assert page.console == []


def test_messages_of_the_console_are_read(page: Browser) -> None:
    page.evaluate("console.log('first')")
    page.evaluate("void setTimeout(() => { throw new Error('and this') })")
    page.evaluate("fetch('data:,x').then(() => {})")
    page.evaluate(
        "new Image().src = 'http://127.0.0.1:9/x.png'; new Promise(f => setTimeout(f, 200))"
    )
    messages = " ".join(page.console)
    assert "first" in messages
    assert "and this" in messages
    assert "Content Security Policy" in messages


def test_a_click_plays_from_there(page: Browser) -> None:
    page.click(".clip .player:nth-child(2) .seek button", across=0.25)
    page.until(f"{POSITION} > 0.3")
    assert page.evaluate("document.querySelector('.clip .toggle').textContent") == "Pause"
    page.press(" ")
    page.until("document.querySelector('.clip .toggle').textContent === 'Play'")
    assert 0.3 < page.evaluate(POSITION) < 1
    assert page.console == []


def test_keys_switch_at_the_same_place(page: Browser) -> None:
    names = page.evaluate("[...document.querySelectorAll('.clip .name')].map(e => e.textContent)")
    page.click(".clip .toggle")
    page.until(f"{POSITION} > 0.3")
    for key, name in (("2", names[2]), ("0", "Reference"), ("ArrowRight", names[1])):
        before = page.evaluate(POSITION)
        page.press(key)
        page.until(f"{PLAYING} === {json.dumps(name)}")
        assert before <= page.evaluate(POSITION) < 1
        assert page.evaluate("document.querySelectorAll('.playing').length") == 1
    assert page.console == []


def test_a_switch_goes_on_at_the_very_sample(page: Browser) -> None:
    page.evaluate(
        """(() => {
          window.sounds = [];
          const { start, stop } = AudioBufferSourceNode.prototype;
          AudioBufferSourceNode.prototype.start = function (at, offset) {
            window.sounds.push((this.entry = { at, offset, stop: null }));
            start.call(this, at, offset);
          };
          AudioBufferSourceNode.prototype.stop = function (at) {
            this.entry.stop = at;
            stop.call(this, at);
          };
        })()"""
    )
    page.click(".clip .toggle")
    page.until(f"{POSITION} > 0.1")
    for key in "120":
        page.press(key)
        time.sleep(0.1)
    sounds = page.until("window.sounds.length === 4 && window.sounds")
    for before, after in pairwise(sounds):
        assert after["at"] - before["at"] == pytest.approx(after["offset"] - before["offset"])
        assert 0 < before["stop"] - after["at"] < 0.02  # they cross, and the older one ends
    assert sounds[-1]["stop"] is None


def test_playing_one_clip_stops_the_other(page: Browser) -> None:
    page.click(".clip .toggle")
    page.until(f"{POSITION} > 0.1")
    page.evaluate("document.querySelectorAll('.clip')[1].id = 'second'")
    page.click("#second .toggle")
    page.until("Number(document.querySelector('#second .position').value) > 0.1")
    texts = "[...document.querySelectorAll('.toggle')].map(e => e.textContent)"
    assert page.evaluate(texts) == ["Play", "Pause"]
    assert page.evaluate("document.querySelectorAll('.playing').length") == 1
    assert page.console == []


def test_the_end_stops_and_repeat_goes_on(page: Browser) -> None:
    page.click(".clip .toggle")
    page.until(f"{POSITION} > 0.5")
    page.until("document.querySelector('.clip .toggle').textContent === 'Play'")
    assert page.evaluate(POSITION) == 0
    page.click(".clip .repeat")
    page.click(".clip .toggle")
    page.until(f"{POSITION} > 0.8")
    page.until(f"{POSITION} < 0.5")
    assert page.evaluate("document.querySelector('.clip .toggle').textContent") == "Pause"


def test_without_scripts_the_browsers_own_controls_play(page: Browser, tmp_path: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(tmp_path / "report.html")
        shown = "[...document.querySelectorAll('audio')].filter(e => e.controls && e.clientHeight)"
        assert page.evaluate(f"{shown}.length") == 2 * 7
        assert page.evaluate("document.querySelector('.toggle').clientHeight") == 0
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_every_element_plays(page: Browser) -> None:
    played = page.evaluate(
        """(async () => {
          const times = [];
          for (const audio of document.querySelectorAll("audio")) {
            await audio.play();
            while (audio.currentTime < 0.1) await new Promise((go) => setTimeout(go, 10));
            audio.pause();
            times.push([audio.duration, audio.currentTime]);
          }
          return times;
        })()"""
    )
    assert len(played) == 2 * 7
    for duration, at in played:
        assert duration == pytest.approx(CLIP_S, abs=0.05)
        assert 0.1 <= at <= duration
    assert page.console == []


def test_a_heading_sorts_the_table(page: Browser) -> None:
    column = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[2])"
    values = f"{column}.map(c => 'value' in c.dataset ? Number(c.dataset.value) : null)"
    for sign in (-1, 1):
        page.click("table thead th:nth-child(3) button")
        found = page.evaluate(values)
        shown = [value for value in found if value is not None]
        assert shown == sorted(shown, key=lambda value: sign * value)
        assert None not in found[: len(shown)]
    assert len(shown) < len(found)


TABLES = """[...document.querySelectorAll(".wide")].map((wide) => {
  const hint = wide.previousElementSibling.getBoundingClientRect().height > 0;
  wide.scrollLeft = 1e6;
  const box = wide.getBoundingClientRect(), cells = [...wide.querySelectorAll("tr")];
  const first = Math.min(...cells.map((row) => row.cells[0].getBoundingClientRect().left));
  const last = Math.max(...cells.map((row) => row.lastElementChild.getBoundingClientRect().right));
  return { scrolls: wide.scrollLeft > 0, hint, first: first - box.left, last: last - box.right };
})"""


def resize(page: Browser, width: int) -> None:
    size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 600}
    page.call("Emulation.setDeviceMetricsOverride", **size)


@pytest.mark.parametrize("width", [1200, 400])
def test_no_column_is_cut(browser: Browser, tmp_path: Path, width: int) -> None:
    """A wide window shows 12 metrics. A narrow one scrolls, says so, and keeps the first column."""
    results = made_up()
    names = [*ALL_METRICS][:12]
    for row in results.rows:
        row.scores.update({name: 12.345 for name in names if name not in row.scores})
    write_report(results, tmp_path, tmp_path / "report.html", ALL_METRICS)
    resize(browser, width)
    browser.open(tmp_path / "report.html")
    try:
        assert browser.evaluate("document.querySelector('thead tr').cells.length") == 12 + 5
        browser.evaluate("new Promise((go) => requestAnimationFrame(() => setTimeout(go, 50)))")
        for table in browser.evaluate(TABLES):
            assert table["scrolls"] == table["hint"] == (width == 400)
            assert table["first"] == pytest.approx(1, abs=0.5)  # the border
            assert table["last"] == pytest.approx(-1, abs=1)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_nothing_is_wider_than_a_narrow_window(page: Browser) -> None:
    resize(page, 360)
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.call("Emulation.clearDeviceMetricsOverride")
    assert wide <= 360
