"""Processor time of the page Live in Chromium, as a table.

    python benchmarks/page_live.py [MODEL ...] [--seconds 10]

Each model codes the bundled clip in a loop, at its default bitrate. The audio worklet has a thread
of its own. Its CPU time is what the kernel counts (``/proc``, Linux only), so that other programs
matter little. It includes the resampling and the work of the browser in that thread. The meter is
that of the page, for the encoder and the decoder alone.
"""

import argparse
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from chirrup.serve import assets
from chirrup.serve.page import PageServer
from shared import console, machine, table

if TYPE_CHECKING:
    from playwright.sync_api import Page

THREAD = "Realtime AudioW"
"""Name of the thread of Chromium's audio worklets; Linux keeps 15 characters."""
WARM_S = 4.0
"""Time after the start in which the browser compiles the scripts."""


def thread_s() -> dict[str, float]:
    """Return the CPU time in seconds of each thread of an audio worklet."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # a process or thread may end meanwhile
            for thread in (process / "task").iterdir():
                if (thread / "comm").read_text().strip() == THREAD:
                    used_ns = (thread / "schedstat").read_text().split()[0]
                    found[thread.name] = int(used_ns) / 1e9
    return found


def measure(page: "Page", model: str, seconds: float) -> tuple[float, str, str, str]:
    """Return the share of a core in per cent, and the meters of the page."""
    page.goto("live.html")
    page.wait_for_selector("#start:enabled")
    page.select_option("#source", "clip")
    page.select_option("#model", model)
    before = thread_s()
    page.click("#start")
    page.get_by_text(f"{model} is running.").wait_for()
    page.wait_for_timeout(1000 * WARM_S)
    (name,) = set(thread_s()) - set(before)
    first_s, start_s = thread_s()[name], time.monotonic()
    page.wait_for_timeout(1000 * seconds)
    used_s, passed_s = thread_s()[name] - first_s, time.monotonic() - start_s
    meters = [page.inner_text(f"#{meter}") for meter in ("cpu", "cpu-parts", "delay")]
    page.click("#start")
    return 100 * used_s / passed_s, meters[0], meters[1], meters[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    found = assets.files()
    known = [Path(path).parent.name for path in found if path.endswith(assets.PROGRAM)]
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    console.print(machine())
    result = table("Page Live", "model", "audio thread, % of a core", "meter", "frame", "delay")
    with PageServer(found, 0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for model in options.models or known:
            page = browser.new_page(base_url=server.address)
            share, *meters = measure(page, model, options.seconds)
            result.add_row(model, f"{share:.1f}", *meters)
            page.close()
        browser.close()
        server.shutdown()
    console.print(result)


if __name__ == "__main__":
    main()
