"""pyproject.toml names every package that the code imports, in the extra that its errors name.

`chirrup doctor` reads the extras from the metadata, which pip writes from pyproject.toml.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "chirrup").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"visqol": "visqol-python", "google": "onnx"}
"""Names of packages that differ from the names of their modules; onnx requires protobuf."""
IMPORTERS = {"import_module", "find_spec", "package"}


def distribution(module: str) -> str:
    """Return the package of a module, in the form in which names of packages are compared."""
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top).replace("_", "-").lower()


def packages(requirements: list[str]) -> set[str]:
    """Return the packages of a list of requirements, also of the extras that it names."""
    found = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[(.*?)\])?", requirement).groups()  # pyright: ignore
        if name == "chirrup":
            found |= set().union(*map(of_extra, extras.split(",")))
        else:
            found.add(distribution(name))
    return found


def of_extra(extra: str) -> set[str]:
    return packages(PROJECT["optional-dependencies"][extra])


ALWAYS = packages(PROJECT["dependencies"])
EVERY = ALWAYS.union(*map(of_extra, PROJECT["optional-dependencies"]))


def modules(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a file imports, by a statement or a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if called in IMPORTERS and isinstance(first, ast.Constant):
                yield str(first.value)


TREES = {path.relative_to(ROOT / "src"): ast.parse(path.read_text()) for path in SOURCES}
OWN = {"chirrup", *sys.stdlib_module_names}
IMPORTED = {
    module: path
    for path, tree in TREES.items()
    for module in modules(tree)
    if module.partition(".")[0] not in OWN
}


def test_every_imported_package_is_a_requirement() -> None:
    unknown = {m: str(path) for m, path in IMPORTED.items() if distribution(m) not in EVERY}
    assert unknown == {}


def advice() -> Iterator[tuple[str, str, str]]:
    """Yield file, module and extra of each text that names both, and of each call of `package`."""
    names = {module.partition(".")[0] for module in IMPORTED} - {*PROJECT["optional-dependencies"]}
    for path, tree in TREES.items():
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", "") for part in node.values]
                text = "".join(part for part in parts if isinstance(part, str))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "package":
                module, install = node.args
                given = constants.get(getattr(install, "id", ""), getattr(install, "value", ""))
                text = f"{ast.literal_eval(module)} is not installed: {given}"
            else:
                continue
            if "not installed" not in text and "package" not in text:
                continue
            for extra in re.findall(r"chirrup\[([\w-]+)\]", text):
                for word in names.intersection(re.findall(r"\w+", text)):
                    yield str(path), word, extra


ADVICE = sorted(set(advice()))


def test_the_advice_was_found() -> None:
    assert {("scipy", "eval"), ("pyarrow", "tokens"), ("onnxruntime", "eval")} <= {
        (module, extra) for _, module, extra in ADVICE
    }


@pytest.mark.parametrize(("path", "module", "extra"), ADVICE)
def test_the_extra_of_an_error_has_the_package(path: str, module: str, extra: str) -> None:
    assert distribution(module) in of_extra(extra), path
