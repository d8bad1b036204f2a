"""Write the pages of the documentation site, from which `make docs` builds the site.

The pages are those of `docs/`, the model cards and a few other pages of the repository. Links to
other files of the repository lead to pages with the text of the file, so that the site needs no
checkout and no network. Marks in pages are replaced by the help of all commands and by the
docstrings of the Python API.
"""

import re
import shutil
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from chirrup.cli import app
from chirrup.zoo import FOLDER as ZOO

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```+).*?^\1", re.MULTILINE | re.DOTALL)
HELP = "<!-- help of all commands -->"
DOCSTRINGS = re.compile(r"<!-- docstrings: (.*?) -->", re.DOTALL)
LANGUAGES = {".toml": "toml", ".h": "c", ".c": "c", ".js": "js", ".py": "python"}


def pages() -> dict[Path, str]:
    """Return the Markdown files of the site, each with its path there."""
    found = {page: page.relative_to(DOCS).as_posix() for page in sorted(DOCS.rglob("*.md"))}
    found |= {ZOO / name / "README.md": f"models/{name}.md" for name in cards()}
    return found | {
        DOCS / "README.md": "index.md",
        ROOT / "src/chirrup/lab/papers/README.md": "papers/figures.md",
        ROOT / "benchmarks" / "README.md": "benchmarks.md",
        ROOT / "CONTRIBUTING.md": "contributing.md",
        ROOT / "CHANGELOG.md": "changelog.md",
        ROOT / "SECURITY.md": "security.md",
    }


def cards() -> list[str]:
    """Return the names of the models that have a card."""
    return sorted(card.parent.name for card in ZOO.glob("*/README.md"))


def write(folder: Path) -> None:
    """Write all pages, pictures and linked files to a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS / "plots", folder / "plots")
    shutil.copytree(Path(__file__).parent / "assets", folder / "assets")
    places, files = pages(), {}
    for page, place in places.items():
        text = replaced(linked(page, place, places, files))
        put(folder / place, text)
    for file, place in files.items():
        put(folder / place, file_page(file))


def put(path: Path, text: str) -> None:
    """Write a page, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def linked(page: Path, place: str, places: dict[Path, str], files: dict[Path, str]) -> str:
    """Return the text of a page with its links as they are on the site.

    Args:
        page: the Markdown file.
        place: its path on the site.
        places: the paths of all pages.
        files: gets the linked files that are no pages, and their paths.
    """

    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match[1].partition("#")
        if not target or "://" in target:
            return match[0]
        path = (page.parent / target).resolve()
        if path in places:
            there = places[path]
        elif path.is_file() and path.is_relative_to(DOCS):
            there = path.relative_to(DOCS).as_posix()
        elif path.is_file():
            there = files[path] = f"files/{path.relative_to(ROOT).as_posix()}.md"
        else:
            raise SystemExit(f"{page}: the link {match[1]} leads to no file")
        return f"]({relpath(there, Path(place).parent)}{mark}{anchor})"

    return "".join(
        part if part.startswith("```") else LINK.sub(link, part) for part in parts(page.read_text())
    )


def parts(text: str) -> Iterator[str]:
    """Split a page at its fenced blocks, which begin with a fence."""
    start = 0
    for block in FENCE.finditer(text):
        yield text[start : block.start()]
        yield block[0]
        start = block.end()
    yield text[start:]


def replaced(text: str) -> str:
    """Replace the marks of a page."""
    if HELP in text:
        text = text.replace(HELP, "\n".join(command_help()))
    return DOCSTRINGS.sub(lambda m: "\n\n".join(f"::: {name}" for name in m[1].split()), text)


def command_help() -> Iterator[str]:
    """Yield a section of Markdown for each command, with its help at 80 columns."""
    for words in commands(get_command(app)):
        result = CliRunner().invoke(
            app, [*words, "--help"], prog_name="chirrup", env={"COLUMNS": "80"}
        )
        yield f"### chirrup {' '.join(words)}\n\n```text\n{result.output.strip()}\n```\n"


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


def file_page(file: Path) -> str:
    """Return a page with the text of a file."""
    name = file.relative_to(ROOT).as_posix()
    language = LANGUAGES.get(file.suffix, "text")
    unsearched = "---\nsearch:\n  exclude: true\n---\n\n"
    return f"{unsearched}# {name}\n\n````{language}\n{file.read_text().rstrip()}\n````\n"
