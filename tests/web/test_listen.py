"""Blind listening tests in a browser, by keyboard, up to ratings that the analysis reads."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chirrup.evaluate.listening_tests.analysis import Table, analyse
from chirrup.evaluate.listening_tests.design import PAGE, make_test
from chirrup.evaluate.listening_tests.items import Settings
from chirrup.evaluate.listening_tests.ratings import read_files, read_key, submissions
from chirrup.files.page_sources import page_sources
from chirrup.serve import assets
from chirrup.serve.page import PageServer
from listening_samples import evaluated

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

Opener = Callable[[str], "BrowserContext"]

FAIL_TWICE = """() => {
    const { fetch } = window, failures = [
        () => Promise.reject(new TypeError("Failed to fetch")),
        async () => new Response("unknown test\\n", { status: 400 }),
    ];
    window.fetch = (...request) => (failures.shift() ?? fetch)(...request);
}"""


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Settings, list[str]], Path]:
    """Return a function that makes a test and returns its folder."""

    def make(settings: Settings, clips: list[str]) -> Path:
        results = evaluated(tmp_path / "results", clips, seconds=0.3)
        make_test(results, tmp_path / "test", settings, assets.listening_page())
        return tmp_path / "test"

    return make


@contextmanager
def served(folder: Path, site: Mapping[str, Path] = {}, below: str = "") -> Iterator[str]:
    """Serve a folder below a path of a site, as a static host does."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {below + path.relative_to(folder).as_posix(): path for path in files}
    with PageServer({**site, **found}, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.address
        server.shutdown()


def begin(page: "Page", address: str) -> None:
    page.goto(address)
    page.get_by_label("Your number or name").wait_for()
    page.keyboard.type("7")
    page.keyboard.press("Enter")


def heading(page: "Page", text: str) -> None:
    page.get_by_role("heading", name=text, exact=True).wait_for()
    page.locator("#status:empty").wait_for(state="attached")


def start(page: "Page") -> None:
    heading(page, "End of the training")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")


def saved(page: "Page", folder: Path) -> Table:
    """Save the ratings by keyboard, and analyse them."""
    heading(page, "Thank you")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    key = read_key(folder)
    (submission,) = submissions(read_files([path]), key).values()
    assert submission.finished
    assert submission.listener == "7"
    assert submission.ratings.keys() == key.trials.keys()
    return analyse(key, {"7": submission})


def names_in_order(page: "Page", trial: dict[str, Any], seed: int) -> list[str]:
    """Return the sounds of a trial as the page shows them to listener 7."""
    return page.evaluate(
        """async ([names, text]) => {
            const { ordered } = await import("./modules/listening-test.js");
            return ordered(names, text);
        }""",
        [trial["sounds"], f"{seed}/7/{trial['id']}"],
    )


def score_by_keys(page: "Page", count: int) -> None:
    """Play and score each sound: the first gets 90, the next 80, ..."""
    for number in range(1, count + 1):
        page.keyboard.press(str(number))
        page.keyboard.press("End")
        for _ in range(number):
            page.keyboard.press("PageDown")


def test_mushra_by_keyboard(
    made: Callable[[Settings, list[str]], Path], open_context: Opener
) -> None:
    folder = made(Settings("mushra", title="Speech"), ["ann__0", "bob__0"])
    test = json.loads((folder / PAGE / "test.json").read_text())
    with served(folder / PAGE) as address:
        page = open_context(address).new_page()
        begin(page, address)
        assert page.title() == "Speech"
        heading(page, "Training 1 of 1")
        score_by_keys(page, 5)
        page.keyboard.press("Enter")
        start(page)
        heading(page, "Trial 1 of 2")
        page.keyboard.press("0")
        reference = page.get_by_role("button", name="Play Reference, key 0")
        reference.and_(page.locator("[aria-pressed=true]")).wait_for()
        page.keyboard.press(" ")
        page.get_by_role("button", name="Play", exact=True).wait_for()
        page.keyboard.press("Enter")
        assert page.get_by_text("5 of 5 sounds have no score yet").is_visible()
        score_by_keys(page, 5)
        page.keyboard.press("Enter")
        heading(page, "Trial 2 of 2")
        page.keyboard.press("1")
        page.keyboard.press("Home")
        page.reload()
        page.get_by_label("Your number or name").wait_for()
        page.keyboard.press("Enter")
        heading(page, "Trial 2 of 2")
        slider = page.get_by_label("Score of sound 1")
        assert slider.input_value() == "0", "a reload loses nothing"
        assert slider.get_attribute("aria-valuetext") == "0, Bad"
        assert page.get_by_label("Score of sound 2").get_attribute("aria-valuetext") == "not scored"
        score_by_keys(page, 5)
        page.keyboard.press("Enter")
        order = {trial["id"]: names_in_order(page, trial, 0) for trial in test["trials"]}
        table = saved(page, folder)
    sent = json.loads(next(folder.glob("ratings-*.json")).read_text())
    assert [rating["trial"] for rating in sent["ratings"]] != [], "as the listener's order has them"
    for rating in sent["ratings"]:
        assert [rating["scores"][name] for name in order[rating["trial"]]] == [90, 80, 70, 60, 50]
        assert rating["seconds"] > 0
    assert table.listeners + len(table.excluded) == 1


def test_a_click_on_the_middle_scores_50_and_spaces_around_a_name_are_removed(
    made: Callable[[Settings, list[str]], Path], open_context: Opener
) -> None:
    folder = made(Settings("mushra"), ["ann__0"])
    with served(folder / PAGE) as address:
        page = open_context(address).new_page()
        page.goto(address)
        name = page.get_by_label("Your number or name")
        for text in ("a b", "7 "):
            name.fill(text)
            page.keyboard.press("Enter")
            if text == "a b":
                page.get_by_text("Give a number or a name of 1 to 64 letters").wait_for()
        heading(page, "Training 1 of 1")
        slider = page.get_by_label("Score of sound 1")
        slider.click()
        assert slider.get_attribute("aria-valuetext") == "50, Fair"


def one_trial(page: "Page") -> None:
    """Answer a trial of abx."""
    for key in "abx1":
        page.keyboard.press(key)


BLOCKED = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("Access is denied for this document.", "SecurityError"); },
})"""
FULL = """Storage.prototype.setItem = () => {
    throw new DOMException("exceeded the quota", "QuotaExceededError");
}"""


@pytest.mark.parametrize("fault", [BLOCKED, FULL])
def test_a_browser_that_stores_nothing(
    made: Callable[[Settings, list[str]], Path], open_context: Opener, fault: str
) -> None:
    folder = made(Settings("abx", systems=("bad-1000",)), ["ann__0", "bob__0"])
    with served(folder / PAGE) as address:
        page = open_context(address).new_page()
        page.add_init_script(fault)
        begin(page, address)
        for where in ("Training 1 of 1", "Trial 1 of 2", "Trial 2 of 2"):
            heading(page, where)
            page.get_by_text("This browser stores no progress").wait_for()
            one_trial(page)
            if "Training" in where:
                leave_training(page)
        assert saved(page, folder).listeners == 1


def test_two_tabs_lose_no_ratings(
    made: Callable[[Settings, list[str]], Path], open_context: Opener
) -> None:
    folder = made(Settings("abx", systems=("bad-1000",)), ["ann__0", "bob__0", "cyd__0"])
    with served(folder / PAGE) as address:
        context = open_context(address)
        page, other = context.new_page(), context.new_page()
        begin(page, address)
        heading(page, "Training 1 of 1")
        one_trial(page)
        leave_training(page)
        heading(page, "Trial 1 of 3")
        other.goto(f"{address}?listener=7")
        other.get_by_role("button", name="Continue").click()
        heading(other, "Trial 1 of 3")
        for number in (1, 2):
            heading(page, f"Trial {number} of 3")
            one_trial(page)
        heading(page, "Trial 3 of 3")
        one_trial(other)
        heading(other, "Trial 3 of 3")
        one_trial(other)
        assert saved(other, folder).listeners == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, r"The sound \w+\.flac cannot be loaded. Check the connection"),
        ("damaged", r"This browser cannot decode the sound \w+\.flac"),
    ],
)
def test_sounds_that_cannot_be_loaded(
    made: Callable[[Settings, list[str]], Path],
    browser: "Browser",
    answer: str | None,
    text: str,
) -> None:
    folder = made(Settings("abx", systems=("bad-1000",)), ["ann__0"])
    with served(folder / PAGE) as address, closing(browser.new_page()) as page:

        def respond(route: "Route") -> None:
            route.abort() if answer is None else route.fulfill(body=answer)

        page.route("**/*.flac", respond)
        begin(page, address)
        page.get_by_text(re.compile(text)).wait_for()
        page.unroute("**/*.flac")
        page.get_by_role("button", name="Try again").click()
        heading(page, "Training 1 of 1")


def leave_training(page: "Page") -> None:
    """Go on from the answer of the only trial of the training to the test."""
    answers = (page.get_by_role("heading", name=name) for name in ("Right", "Wrong"))
    next(answers).or_(next(answers)).wait_for()
    page.keyboard.press("Enter")
    start(page)


def test_abx_by_keyboard(made: Callable[[Settings, list[str]], Path], open_context: Opener) -> None:
    folder = made(Settings("abx", systems=("bad-1000",)), ["ann__0", "bob__0"])
    with served(folder / PAGE) as address:
        page = open_context(address).new_page()
        begin(page, address)
        for where in ("Training 1 of 1", "Trial 1 of 2", "Trial 2 of 2"):
            heading(page, where)
            page.keyboard.press("1")
            assert page.get_by_role("button", name="X is A, key 1").is_disabled()
            for key in "abx":
                page.keyboard.press(key)
            page.keyboard.press("1" if "Trial" in where else "2")
            if "Training" in where:
                leave_training(page)
        table = saved(page, folder)
    (line,) = table.lines
    assert (line.title, line.count) == ("Bad 1k or reference", 2)


def parts_of_the_page() -> dict[str, Path]:
    """Return the files of the page that the blind tests need."""
    return {path: page_sources() / path for path in (*assets.LISTENING, "modules/offline.js")}


def test_drt_by_keyboard_in_the_page_of_the_site(
    made: Callable[[Settings, list[str]], Path], open_context: Opener
) -> None:
    folder = made(Settings("drt", systems=("good-6000",), limit=1), ["veal", "feel"])
    key = read_key(folder)
    site = parts_of_the_page()
    with served(folder / PAGE, site, "tests/words/") as address:
        page = open_context(address).new_page()
        begin(page, f"{address}listen.html?test=tests/words")
        heard = []
        for where in ("Training 1 of 1", "Trial 1 of 2", "Trial 2 of 2"):
            heading(page, where)
            words = page.locator(".word")
            assert words.count() == 2
            words.first.wait_for()
            heard.append([words.nth(0).inner_text(), words.nth(1).inner_text()])
            page.keyboard.press("2")
            if "Training" in where:
                leave_training(page)
        table = saved(page, folder)
    assert all(sorted(words) == ["feel", "veal"] for words in heard)
    sent = json.loads(next(folder.glob("ratings-*.json")).read_text())
    assert [rating["choice"] for rating in sent["ratings"]] == [words[1] for words in heard[1:]]
    assert sorted(line.title for line in table.lines) == ["Good 6k", "reference"]
    assert len(key.trials) == 2


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "chirrup blind-test makes such a folder"),
        ("?test=https://example.org/x", "The test https://example.org/x is on another host"),
        ("?test=//example.org/x", "is on another host"),
        ("?test=other", "has no listening test: its test.json has another format"),
    ],
)
def test_addresses_without_a_test(
    open_context: Opener, tmp_path: Path, query: str, text: str
) -> None:
    site = parts_of_the_page()
    (tmp_path / "test.json").write_text("{}")
    with served(tmp_path, site, "other/") as address:
        page = open_context(address).new_page()
        page.goto(f"{address}listen.html{query}")
        page.get_by_text(text).wait_for()


def test_a_page_that_is_opened_as_a_file_states_what_it_needs(
    made: Callable[[Settings, list[str]], Path], browser: "Browser"
) -> None:
    folder = made(Settings("abx", systems=("bad-1000",)), ["ann__0"])
    for html in (folder / PAGE / "index.html", page_sources() / "index.html"):
        with closing(browser.new_page()) as page:
            page.goto(html.as_uri())
            page.get_by_text("This page has not started. It needs JavaScript").wait_for()
    with served(folder / PAGE) as address, closing(browser.new_page()) as page:
        page.goto(address)
        page.get_by_label("Your number or name").wait_for()
        assert page.get_by_text("This page has not started").count() == 0


def test_ratings_are_sent_to_the_server(
    made: Callable[[Settings, list[str]], Path], open_context: Opener
) -> None:
    folder = made(Settings("abx", systems=("bad-1000",)), ["ann__0"])
    test = json.loads((folder / PAGE / "test.json").read_text())
    (folder / PAGE / "test.json").write_text(json.dumps(test | {"send": "../ratings"}))
    site = parts_of_the_page()
    sent = []
    with served(folder / PAGE, site, "tests/") as address:
        page = open_context(address).new_page()

        def answer(route: "Route") -> None:
            sent.append(route.request.post_data_json)
            route.fulfill(status=204)

        page.route(f"{address}ratings", answer)
        page.goto(f"{address}listen.html?test=tests&listener=7")
        page.get_by_label("Your number or name").wait_for()
        page.keyboard.press("Enter")
        for where in ("Training 1 of 1", "Trial 1 of 1"):
            heading(page, where)
            for key in "abx1":
                page.keyboard.press(key)
            if "Training" in where:
                page.get_by_role("button", name="Continue").press("Enter")
                start(page)
        heading(page, "Thank you")
        page.evaluate(FAIL_TWICE)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("The ratings could not be sent (no connection)").wait_for()
        page.get_by_role("button", name="Send the ratings").press("Enter")
        page.get_by_text("The ratings could not be sent (status 400: unknown test)").wait_for()
        page.get_by_role("button", name="Send the ratings").press("Enter")
        page.get_by_text("The ratings are sent").wait_for()
        assert page.get_by_role("button", name="Send the ratings").count() == 0
        assert page.get_by_text("Send your ratings now.").count() == 0
        page.reload()
        page.get_by_role("button", name="Continue").click()
        page.get_by_text("The ratings are sent").wait_for()
        assert page.get_by_role("button", name="Send the ratings").count() == 0
    assert len(sent) == 1
    (submission,) = submissions([("sent", value) for value in sent], read_key(folder)).values()
    assert submission.finished
