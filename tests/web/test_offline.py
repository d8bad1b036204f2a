"""The service worker: the page without a network, and updates."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chirrup.files.page_sources import page_sources
from chirrup.serve import assets
from chirrup.serve.page import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CONTROLLED = "navigator.serviceWorker.controller !== null"
KEPT = "caches.keys().then((names) => names.filter((name) => name.startsWith('chirrup-page')))"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def until(page: "Page", condition: str) -> None:
    """Wait for a condition. `Page.wait_for_function` is against the page's policy."""
    page.evaluate(f"""async () => {{
      while (!(await {condition})) await new Promise((resolve) => setTimeout(resolve, 50));
    }}""")


def coded(page: "Page") -> None:
    """Code the example with the models that the page chooses."""
    page.get_by_role("button", name="Use the example").click()
    card = page.get_by_role("article", name="iris-t1, 6 kbit/s", exact=True)
    card.get_by_role("button", name="WAV").wait_for(timeout=60_000)


def test_the_page_codes_without_a_network_after_its_first_load(
    browser: "Browser", site: str
) -> None:
    context = browser.new_context(base_url=site)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    page = context.new_page()
    page.goto("")
    until(page, CONTROLLED)
    coded(page)  # keeps the program of the model
    context.set_offline(True)
    page.reload()
    coded(page)
    for path in ("index.html", "live.html", "talk.html", "listen.html"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    context.close()
    assert faults == []


@pytest.fixture
def static_host(engine: None, tmp_path: Path) -> Iterator[str]:
    """Write the page for a static host, and serve it below a path, without headers."""
    assets.write(tmp_path / "some" / "where", assets.files())
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/some/where/"
        server.shutdown()


def test_a_static_host_serves_the_page_below_any_path(browser: "Browser", static_host: str) -> None:
    context = browser.new_context(base_url=static_host)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.append(message.text))
    page = context.new_page()
    page.goto("")
    until(page, CONTROLLED)
    coded(page)
    context.set_offline(True)
    page.reload()
    coded(page)
    refused = "fetch('https://example.org').catch((error) => error.name)"
    assert page.evaluate(refused) == "TypeError"
    context.close()
    assert faults
    # The policy is also in force without headers.
    assert all("Content Security Policy" in fault for fault in faults), faults


def test_a_new_version_is_used_at_the_next_load(browser: "Browser", site: str) -> None:
    found = assets.files()
    source = page_sources() / assets.SERVICE_WORKER
    with PageServer(found, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(base_url=server.address)
        page = context.new_page()
        page.goto("")
        until(page, CONTROLLED)
        (before,) = page.evaluate(KEPT)

        found["index.html"] = assets.content(found["index.html"]).replace(b"Hear a codec", b"Two")
        found[assets.SERVICE_WORKER] = assets.service_worker(
            found | {assets.SERVICE_WORKER: source}
        )
        page.reload()
        assert page.locator("h1").inner_text() == "Hear a codec"  # kept
        until(page, f"{KEPT}.then((names) => names.length === 1 && names[0] !== '{before}')")
        page.reload()
        assert page.locator("h1").inner_text() == "Two"
        context.close()
        server.shutdown()
