"""The documentation: links, Python code, and tables that agree with the code."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from chirrup.evaluate.metrics import METRICS
from chirrup.lab.training.config import TrainingConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECIPE = (DOCS / "reference" / "recipe.md").read_text()


def tables_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The configuration classes in the type of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from tables_of(part)


SECTIONS = {
    "Top level": (),
    "Data": ("data",),
    "Conditions": ("data", "conditions"),
    "Stages": ("stages",),
    "Loss weights": ("stages", "weights"),
    "Spectra": ("spectra",),
    "Codes": ("codes",),
    "Adversary": ("adversary",),
    "Discriminators": ("adversary", "discriminators"),
    "Teacher": ("teacher",),
}
"""Headings of the reference of recipes, with the keys that lead to their tables."""


def documented(heading: str) -> dict[str, Any]:
    """Keys and defaults below a heading; "required" and "none" stay words, "" is a table."""
    text = re.split(rf"^#+ {heading}\n", RECIPE, flags=re.MULTILINE)[1]
    text = re.split(r"^#", text, flags=re.MULTILINE)[0]
    if block := re.search(r"```toml\n(.*?)```", text, re.DOTALL):
        return tomllib.loads(block[1])
    rows = (re.split(r" ?\| ?", line.strip("|")) for line in text.splitlines() if "| `" in line[:3])
    defaults = {row[0].strip(" `"): row[2].strip() for row in rows}
    return {
        key: tomllib.loads(f"x = {default.strip('`')}")["x"] if "`" in default else default
        for key, default in defaults.items()
    }


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_of_recipes_has_all_keys_and_defaults(heading: str) -> None:
    model: type[BaseModel] = TrainingConfig
    for key in SECTIONS[heading]:
        (model,) = tables_of(model.model_fields[key].annotation)
    expected: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required():
            expected[key] = "required"
        elif isinstance(default, BaseModel):
            expected[key] = default.model_dump(exclude_defaults=True) or ""
        elif isinstance(default, Path):
            expected[key] = str(default)
        else:
            expected[key] = "none" if default is None else default
    found = {key: tuple(x) if isinstance(x, list) else x for key, x in documented(heading).items()}
    assert found == expected


def test_the_reference_of_metrics_has_all_of_them() -> None:
    text = (DOCS / "reference" / "metrics.md").read_text()
    names = re.findall(r"^\| (`.*?) \| .*? \| .*? \| .*? \| (\w+) \|", text, re.MULTILINE)
    found = {name: better for some, better in names for name in re.findall(r"`(\w+)`", some)}
    assert found == {metric.name: metric.better for metric in METRICS.values()}


PYTHON = [
    page
    for page in DOCS.rglob("*.md")
    if "```python\nimport numpy as np\nimport chirrup\n" in page.read_text()
    and page.parent.name not in ("tutorial", "how-to")
]
"""Pages whose blocks together are a program. `test_pages_run` has the others."""


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_python_of_the_pages_runs(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    exec(compile("\n".join(blocks), str(page), "exec"), {})


EXTRAS = {
    r"(?:--model |load\(\")(?:focal|spectro)-small|^chirrup convert": "onnx|train",
    r"^chirrup tokenize .*--format parquet": "tokens",
    r"^chirrup evaluate": "eval",
    r"^chirrup data": "data",
    r"^chirrup (?:train|export)": "train",
    r"^chirrup (?:record|play|talk$)|--key-file|--announce|name:": "live",
    r"^chirrup serve": "web",
    r"^(?:from|import) torch": "hf|train|torch",
    r"\"hf://|^chirrup .*hf://": "hub",
}
"""Extras and packages by commands and Python code that need one of them."""


@pytest.mark.parametrize(
    "page",
    [page for kind in ("tutorial", "how-to") for page in (DOCS / kind).glob("*.md")],
    ids=lambda page: f"{page.parent.name}-{page.stem}",
)
def test_a_page_states_how_to_install_what_its_blocks_need(page: Path) -> None:
    text = page.read_text()
    blocks = "".join(re.findall(r"^```(?:python|py)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = re.findall(r"pip\s+install\s+('chirrup\[[^']*|torch)", text)
    stated = {name for line in lines for name in re.findall(r"[\w-]+", line)} - {"chirrup"}
    for pattern, extras in EXTRAS.items():
        if re.search(pattern, blocks, re.MULTILINE):
            assert stated & set(extras.split("|")), f"{pattern} needs {extras}"


PAGES = [
    ROOT / "README.md",
    *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CODE_OF_CONDUCT", "CONTRIBUTING", "SECURITY")),
    ROOT / "benchmarks" / "README.md",
    *DOCS.rglob("*.md"),
    *(ROOT / "src").rglob("*.md"),
]
SOURCES = [
    path
    for folder in ("src", "recipes", "benchmarks", "examples", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".toml", ".cpp", ".h")
]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", name).replace(" ", "-").lower() for name in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        if not target.startswith("http"):
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), link
            assert not anchor or anchor in anchors(path), link


def test_pages_that_the_code_names_exist() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for path in SOURCES
        for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text())
    }
    assert named
    assert {place for place in named if not (ROOT / place[1]).is_file()} == set()


def test_the_index_names_every_page() -> None:
    text = (DOCS / "README.md").read_text()
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page}" not in text} == set()


def test_files_that_the_pages_name_exist() -> None:
    rooms = "src|lab|data|files|evaluate|tests|benchmarks|examples|recipes"
    files = rf"`((?:{rooms})/[\w/-]+\.(?:py|toml|pt))`"
    named = {
        (page.relative_to(ROOT).as_posix(), path)
        for page in PAGES
        for path in re.findall(files, page.read_text())
        if "yours" not in path
    }
    assert named
    package = ROOT / "src" / "chirrup"
    missing = {x for x in named if not (ROOT / x[1]).exists() and not (package / x[1]).exists()}
    assert missing == set()
