"""Fixtures of the tests in a browser: Debian's Chromium, driven by Playwright."""

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chirrup.serve import assets
from chirrup.serve.page import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

NATIVE = Path(__file__).parents[2] / "native"
CHROMIUM = shutil.which("chromium")
OPTIONS = [
    *("--no-sandbox", "--disable-quic", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
]


def missing() -> str | None:
    """Return what these tests lack on this machine."""
    if CHROMIUM is None:
        return "needs the browser chromium"
    if importlib.util.find_spec("playwright") is None:
        return "needs the package playwright"
    return None


@pytest.fixture(scope="session")
def engine() -> None:
    """Compile the engine in WebAssembly."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs the package ziglang")
    target = ("--target", "wasm32-freestanding", "--if-changed")
    subprocess.run([sys.executable, str(NATIVE / "build.py"), *target], check=True)


@pytest.fixture(scope="session")
def modules(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts of the page, from which Node imports them."""
    if shutil.which("node") is None:
        pytest.skip("needs Node")
    folder = tmp_path_factory.mktemp("page")
    scripts = {path: file for path, file in assets.files().items() if path.endswith(".js")}
    assets.write(folder, scripts | {"package.json": b'{"type": "module"}'})
    return folder


@pytest.fixture
def talk_task(modules: Path, tmp_path: Path) -> "Callable[..., Any]":
    """A function that runs a task of ``talk.mjs`` in Node and returns its result."""

    def run(task: str, **given: Any) -> Any:
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"task": task} | given))
        script = Path(__file__).with_name("talk.mjs")
        command = ["node", str(script), str(modules), str(job)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return run


@pytest.fixture(scope="session")
def site(engine: None) -> Iterator[str]:
    """Serve the page as `chirrup page` does, and return its address."""
    if why := missing():
        pytest.skip(why)
    with PageServer(assets.files(), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.address
        server.shutdown()


@pytest.fixture(scope="module")  # Playwright's event loop must not run in tests of other modules
def launch() -> "Iterator[Callable[..., Browser]]":
    """A function that starts a browser, with options beside the usual ones."""
    if why := missing():
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium
        yield lambda *more: chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *more])


@pytest.fixture(scope="module")
def browser(launch: "Callable[..., Browser]") -> "Iterator[Browser]":
    launched = launch()
    yield launched
    launched.close()


@pytest.fixture
def open_context(browser: "Browser") -> "Iterator[Callable[[str], BrowserContext]]":
    """Open a context of the browser for the pages of an address.

    Errors on these pages and requests to other hosts fail the test.
    """
    opened: list[BrowserContext] = []
    faults: list[str] = []

    def note_message(message: "ConsoleMessage") -> None:
        blocked = message.text == "Service Worker registration blocked by Playwright"
        if message.type in {"error", "warning"} and not blocked:
            faults.append(message.text)

    def opener(address: str) -> "BrowserContext":
        def note_request(request: "Request") -> None:
            if not request.url.startswith((address, "blob:", "data:")):
                faults.append(f"request to {request.url}")

        # Playwright does not route requests that a service worker has seen.
        options = {"service_workers": "block", "permissions": ["microphone"]}
        made = browser.new_context(base_url=address, **options)
        made.on("request", note_request)
        made.on("console", note_message)
        made.on("weberror", lambda error: faults.append(str(error.error)))
        opened.append(made)
        return made

    yield opener
    for made in opened:
        made.close()
    assert faults == []


@pytest.fixture
def context(open_context: "Callable[[str], BrowserContext]", site: str) -> "BrowserContext":
    return open_context(site)


@pytest.fixture
def page(context: "BrowserContext") -> "Page":
    return context.new_page()
