"""The rules of the tree (DESIGN, "The house"): who may import whom, no torch outside the lab, and
no file too long to read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "chirrup"
LINES = 350
SOURCES = {".py", ".cpp", ".js", ".css", ".html"}
LONGER = {"lab/training/loop.py"}
"""About 350 lines, as the design says, and 400 for the loop."""

ROOMS = {
    **dict.fromkeys(("codes", "concealment", "conditioning", "encoding", "resampling"), "codec"),
    **dict.fromkeys(("stream", "voice", "zoo"), "codec"),
    "model_json": "spec",
    "__main__": "cli",
}
"""Modules that belong to a part of another name."""

# Which parts of chirrup each part may import; "" is the package itself, `import chirrup`.
_CODEC = {"", "codec", "spec", "runtime", "bitstream", "errors"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "bitstream": {"errors"},
    "runtime": {"errors"},
    "spec": {"errors", "runtime"},
    "codec": {"spec", "runtime", "bitstream", "errors"},
    "": {"codec", "runtime", "bitstream", "errors"},
    "files": _CODEC,
    "live": _CODEC,
    "evaluate": _CODEC | {"files"},
    "data": _CODEC | {"files", "evaluate"},
    "web": _CODEC | {"files", "live", "evaluate"},
    "cli": _CODEC | {"files", "live", "evaluate", "data", "web"},
    "lab": _CODEC | {"files", "evaluate", "data"},
}
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}


def part_of(module: str) -> str:
    """``lab/nn/conv.py`` -> ``lab``, ``codec.py`` -> ``codec``, ``__init__.py`` -> the package."""
    part = module.partition("/")[0].removesuffix(".py").removesuffix("__init__")
    return ROOMS.get(part, part)


def imports(tree: ast.AST, module: str, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Dotted names that a module imports, and whether inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["chirrup", *module.split("/")[:-1]]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base]).rstrip(".")
            yield from ((f"{base}.{alias.name}", lazy) for alias in node.names)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from imports(node, module, lazy or inside)


def broken_rules(module: str, source: str) -> list[str]:
    part, broken = part_of(module), []
    if part not in ALLOWED:
        return [f"chirrup.{part} has no place in the house yet: give it one in ALLOWED"]
    for name, lazy in imports(ast.parse(source), module):
        top, _, rest = name.partition(".")
        if part != "lab" and (top == "torch" or top.startswith("torch")):
            broken.append(f"{name}: only the lab imports torch")
        if top != "chirrup":
            continue
        target = part_of(rest.partition(".")[0])
        target = target if target in ALLOWED else ""
        if target == "lab" and part == "cli":
            if not lazy:
                broken.append(f"{name}: the command line imports the lab inside functions only")
        elif target != part and target not in ALLOWED[part]:
            broken.append(f"{name}: {part or 'the package'} may not import it")
    return broken


def imported_modules(module: str) -> set[str]:
    """Modules of chirrup that a module imports anywhere, also inside functions."""
    found = set()
    for name, _ in imports(ast.parse(MODULES[module].read_text()), module):
        parts = name.split(".")[1:] if name.startswith("chirrup") else []
        for size in range(len(parts), -1, -1):
            place = "/".join(parts[:size])
            choices = {f"{place}.py", f"{place}/__init__.py".lstrip("/")} & MODULES.keys()
            if name.startswith("chirrup") and choices:
                found |= choices
                break
    return found - {module}


def test_no_modules_import_each_other() -> None:
    """Not in a circle of any length, not inside functions, not for types only."""
    left = {module: imported_modules(module) for module in MODULES}
    while ready := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in ready:
            del left[module]
    assert left == {}


SOUNDS = {"files/callbacks.py", "files/sounds.py"}
OPENERS = {"SoundFile", "read", "write", "blocks", "info"}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - SOUNDS))
def test_audio_is_opened_in_one_place(module: str) -> None:
    """Which lets no exception die in a callback, and believes no wrong head."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Call):
            owner, _, name = ast.unparse(node.func).rpartition(".")
            assert owner != "soundfile" or name not in OPENERS, node.lineno


@pytest.mark.parametrize("module", MODULES)
def test_imports_keep_to_the_rules(module: str) -> None:
    assert broken_rules(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "broken"),
    [
        ("codec.py", "import torch", True),
        ("codec.py", "def f():\n    import torch.nn", True),
        ("evaluate/metrics.py", "from torchaudio import load", True),
        ("codec.py", "from chirrup.runtime import session", False),
        ("codec.py", "from .runtime import session", False),
        ("codec.py", "from chirrup import cli", True),
        ("runtime/session.py", "from chirrup import bitstream", True),
        ("runtime/session.py", "from ..codec import Codec", True),
        ("runtime/session.py", "from .threads import count", False),
        ("bitstream/reader.py", "import chirrup", True),
        ("evaluate/usage.py", "def f():\n    from chirrup.lab.audit.complexity import count", True),
        ("cli/train.py", "from chirrup.lab.training import loop", True),
        ("cli/train.py", "def f():\n    from chirrup.lab.training import loop", False),
        ("cli/train.py", "def f():\n    import torch", True),
        ("cli/__init__.py", "from chirrup import load", False),
        ("lab/export/export.py", "import torch\nfrom chirrup.codec import Codec", False),
        ("lab/export/export.py", "from chirrup.live import send", True),
        ("__init__.py", "from chirrup.zoo import load", False),
        ("__init__.py", "from chirrup.cli import main", True),
        ("gadgets/new.py", "", True),
    ],
)
def test_the_rules_are_seen_to_be_broken(module: str, source: str, broken: bool) -> None:
    assert bool(broken_rules(module, source)) == broken


def test_no_file_is_too_long() -> None:
    files = [path for path in ROOT.rglob("*") if path.suffix in SOURCES and path.is_file()]
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in files
        if ".min." not in path.name and (lines := len(path.read_text().splitlines())) > LINES
    }
    assert files
    assert set(long) <= LONGER, long
