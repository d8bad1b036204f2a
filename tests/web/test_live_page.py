"""The page Live in Chromium, with a fake microphone."""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE_S = 30


def until(page: "Page", check: Callable[[], bool]) -> None:
    """Wait until a check is true; the page's policy does not allow Playwright's own way."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, page.inner_text("main")
        page.wait_for_timeout(100)


def number(page: "Page", name: str) -> float:
    """Return the first number of a meter, or NaN while it has none."""
    found = re.match(r"[\d.]+", page.inner_text(f"#{name}"))
    return float(found[0]) if found else float("nan")


def slide(page: "Page", name: str, value: float) -> None:
    page.locator(f"#{name}").fill(str(value))


@pytest.fixture
def live(page: "Page") -> "Page":
    page.goto("live.html")
    page.wait_for_selector("#start:enabled")
    return page


def start(page: "Page", source: str) -> None:
    page.select_option("#source", source)
    page.click("#start")
    until(page, lambda: "is running" in page.inner_text("#status"))


def test_the_microphone_comes_back_and_every_control_acts(live: "Page") -> None:
    start(live, "microphone")
    until(live, lambda: number(live, "bits") == pytest.approx(6.4, abs=0.2))
    until(live, lambda: number(live, "cpu") < 100)
    assert 30 < number(live, "delay") < 300
    until(live, lambda: float(live.get_attribute("#out-level", "value") or -60) > -40)
    slide(live, "bitrate", 1)
    until(live, lambda: number(live, "bits") < 1.5)
    slide(live, "loss", 50)
    until(live, lambda: number(live, "lost") > 15)
    live.click("#clear")
    assert live.input_value("#loss") == "0"
    slide(live, "network-delay", 300)
    until(live, lambda: number(live, "delay") > 330)  # with the packet and the model
    live.click("#mute")
    until(live, lambda: live.get_attribute("#in-level", "value") == "-60")
    live.click("#start")
    assert live.inner_text("#start") == "Start"
    assert live.is_disabled("#mute")


def test_the_clip_runs_with_the_keyboard(live: "Page") -> None:
    live.select_option("#source", "clip")
    live.focus("#start")
    live.keyboard.press("Enter")
    until(live, lambda: "is running" in live.inner_text("#status"))
    live.keyboard.press("Tab")
    live.keyboard.press("Space")
    assert live.get_attribute("#original", "aria-pressed") == "true"
    live.select_option("#model", "lrac-t1")  # restarts
    until(live, lambda: live.inner_text("#status") == "lrac-t1 is running.")
    assert live.get_attribute("#original", "aria-pressed") == "false"
    assert live.inner_text(".slider:has(#bitrate) output") == "6.0 kbit/s"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NotAllowedError", "The microphone is blocked. Allow it for this page"),
        ("NotFoundError", "There is no microphone. Connect one"),
        ("OtherError", "The microphone cannot be opened: why"),
    ],
)
def test_a_refused_microphone_is_an_error_with_what_to_do(
    live: "Page", name: str, text: str
) -> None:
    live.evaluate(
        "name => navigator.mediaDevices.getUserMedia = async () => {"
        "throw new DOMException('why', name) }",
        name,
    )
    live.click("#start")
    until(live, lambda: live.inner_text("#status").startswith(text))
    assert live.inner_text("#start") == "Start"
    assert "error" in (live.get_attribute("#status", "class") or "")


def test_a_howl_mutes_the_microphone(live: "Page") -> None:
    live.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => {"
        "const context = new AudioContext(), end = context.createMediaStreamDestination();"
        "const tone = context.createOscillator(); tone.connect(end); tone.start();"
        "return end.stream; } }"
    )
    start(live, "microphone")
    until(live, lambda: live.get_attribute("#mute", "aria-pressed") == "true")
    assert live.inner_text("#status").startswith("The microphone was muted")
    live.wait_for_timeout(2500)
    assert live.get_attribute("#mute", "aria-pressed") == "true"  # it stays muted


def test_a_stop_while_the_model_loads_ends_the_start(live: "Page") -> None:
    live.evaluate(
        "() => { const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "window.tracks = []; navigator.mediaDevices.getUserMedia = async (wanted) => {"
        "const stream = await get(wanted); window.tracks.push(...stream.getTracks());"
        "return stream; } }"
    )
    live.click("#start")
    live.click("#start")
    until(live, lambda: live.evaluate("window.tracks.every((t) => t.readyState === 'ended')"))
    live.wait_for_timeout(500)
    assert live.inner_text("#status") == ""
    assert live.inner_text("#start") == "Start"


@pytest.mark.parametrize("width", [360, 400, 1200])
def test_nothing_is_wider_than_the_window(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("live.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    labels = page.evaluate(
        "[...document.querySelectorAll('input, select, button, meter')].filter((each) =>"
        "!each.labels?.length && !each.textContent && !each.getAttribute('aria-labelledby')).length"
    )
    assert labels == 0
