"""The documentation site: its pages, links, commands and search."""

import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import chirrup
import site_pages
from chirrup.cli import app
from evaluate.test_report_browser import CHROMIUM, Browser
from site_pages import ROOT

ZENSICAL = Path(sys.executable).with_name("zensical").is_file()


def places(navigation: Any) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(navigation, str):
        yield navigation
        return
    for part in navigation.values() if isinstance(navigation, dict) else navigation:
        yield from places(part)


def test_the_navigation_has_every_page_once() -> None:
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(places(navigation)) == sorted(site_pages.pages().values())


def test_every_link_of_the_site_leads_to_a_page(tmp_path: Path) -> None:
    site_pages.write(tmp_path)
    pages = {path: path.read_text() for path in tmp_path.rglob("*.md")}
    links = {
        (page.relative_to(tmp_path).as_posix(), link.partition("#")[0])
        for page, text in pages.items()
        if page.relative_to(tmp_path).parts[0] != "files"
        for part in site_pages.parts(text)
        if not part.startswith("```")
        for link in site_pages.LINK.findall(part)
        if "://" not in link and not link.startswith("#")
    }
    assert ("models/iris-t1.md", "../files/recipes/iris-t1-cpu.toml.md") in links
    assert {
        (page, link)
        for page, link in links
        if not (tmp_path / page / ".." / link).resolve().is_file()
    } == set()
    assert 'model = "iris-t1"' in pages[tmp_path / "files" / "recipes" / "iris-t1-cpu.toml.md"]


def test_a_link_to_no_file_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a picture](missing.png)")
    with pytest.raises(SystemExit, match=r"page\.md: the link missing\.png leads to no file"):
        site_pages.linked(page, "page.md", {}, {})


def test_the_reference_of_commands_has_all_of_them() -> None:
    words = {" ".join(words) for words in site_pages.commands(get_command(app))}
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert {name for name in words if f"`{name} " not in page and f"`{name}`" not in page} == set()
    text = site_pages.replaced(page)
    assert {
        name
        for name in words
        if f"\n### chirrup {name}\n\n```text\nUsage: chirrup {name} " not in text
    } == set()
    assert max(map(len, "".join(site_pages.command_help()).splitlines())) <= 80


def test_the_reference_of_python_has_the_docstrings_of_all_names() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    (names,) = site_pages.DOCSTRINGS.findall(page)
    assert {name for name in chirrup.__all__ if f"chirrup.{name}" not in names.split()} == {
        name for name in chirrup.__all__ if name.endswith("Error")
    }
    assert "\n::: chirrup.Codec\n" in site_pages.replaced(page)


@pytest.mark.skipif(not (ZENSICAL and CHROMIUM), reason="no zensical or no chromium is installed")
def test_the_site_is_searched_without_server_and_network(tmp_path: Path) -> None:
    from build_site import build

    shutil.copy(ROOT / "zensical.toml", tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    site = build(tmp_path)
    browser = Browser(tmp_path / "profile")
    browser.open(site / "how-to" / "radio.html")
    browser.evaluate("document.querySelector('.md-search__button').click()")
    search = "[...document.querySelectorAll('*')].find((e) => e.shadowRoot)?.shadowRoot"
    browser.until(f"{search}?.querySelector('input') != null")
    browser.until(f"{search}.activeElement?.tagName === 'INPUT'")
    word = "pseudo-gray"
    for count, key in enumerate(word, 1):
        browser.press(key)
        browser.until(f"{search}.querySelector('[role=option]') != null")
        assert browser.evaluate(f"{search}.querySelector('input').value") == word[:count]
    found = browser.until(f"{search}.querySelector('a[href*=\"how-to/export\"]')?.href")
    assert found.startswith(site.as_uri())
    assert browser.console == []
    browser.close()
