"""The rules of the tree: which part imports which, no torch outside the lab, no file too long to
read, and no name of a model outside the models' own folders."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chirrup.zoo import UNTRAINED, models

ROOT = Path(__file__).parents[1] / "src" / "chirrup"
LINES = 350
SOURCES = {".py", ".cpp", ".js", ".css", ".html"}
LONGER = {"lab/training/loop.py"}
"""Files that may have more than `LINES` lines."""

ROOMS = {
    **dict.fromkeys(("batches", "card", "code_vectors", "codes", "concealment"), "codec"),
    **dict.fromkeys(("conditioning", "encoding", "engines", "hub", "level"), "codec"),
    **dict.fromkeys(("loaded_model", "model_folders", "radio", "resampling"), "codec"),
    **dict.fromkeys(("saving", "stream", "voice", "zoo"), "codec"),
    "model_json": "spec",
    **dict.fromkeys(("parsing", "words"), "errors"),
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
    "calls": _CODEC | {"files", "live"},
    "evaluate": _CODEC | {"files", "live"},
    "data": _CODEC | {"files", "evaluate"},
    "tokens": _CODEC | {"files", "data"},
    "serve": _CODEC | {"files", "live", "evaluate"},
    "installation": _CODEC | {"files", "evaluate", "serve"},
    "cli": _CODEC
    | {"files", "live", "calls", "evaluate", "data", "tokens", "serve", "installation"},
    "lab": _CODEC | {"files", "evaluate", "data"},
}
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}


def part_of(module: str) -> str:
    """``lab/nn/conv.py`` -> ``lab``, ``codec.py`` -> ``codec``, ``__init__.py`` -> the package."""
    part = module.partition("/")[0].removesuffix(".py").removesuffix("__init__")
    return ROOMS.get(part, part)


def imports(tree: ast.AST, module: str, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the dotted names that a module imports, and whether the import is in a function."""
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
    """Return the modules of chirrup that a module imports, also inside functions."""
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
    """There is no circle of any length, also not in functions or for types only."""
    left = {module: imported_modules(module) for module in MODULES}
    while ready := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in ready:
            del left[module]
    assert left == {}


SOUNDS = {"files/callbacks.py", "files/sounds.py"}
OPENERS = {"SoundFile", "read", "write", "blocks", "info"}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - SOUNDS))
def test_audio_is_opened_in_one_place(module: str) -> None:
    """These modules keep exceptions of callbacks, and repair wrong headers."""
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


# --- shared code knows no single model ------------------------------------------------------------

OF_MODELS = ("lab/models/", "lab/papers/", "lab/released/", "lab/training/distillation/", "zoo/")
"""Folders that are about single models."""

NAMES_OF_MODELS = re.compile(
    rf"\b(?:{'|'.join(map(re.escape, sorted({*models(), *UNTRAINED})))})\b"
    r"|Iris|\biris\b|IRIS|Lrac(?:\b|[A-Z])|TQ|tqcodec"
    r"|[Ff]ocal_?[Cc]o(?:dec|nfig)|[Ss]pectro_?(?:[Ss]tream|[Cc]onfig)"
)

DEFAULT = "the default model, in code, examples and help"
PAPERS_DEFINE = "losses and discriminators as papers define them"
SOURCE = "a layer or a quantizer, whose docstring names the system that it comes from"
NAMING = {
    "__init__.py": DEFAULT,
    "files/__init__.py": DEFAULT,
    "cli/demo.py": DEFAULT,
    "cli/devices.py": DEFAULT,
    "cli/evaluate.py": DEFAULT,
    "cli/files.py": DEFAULT,
    "cli/live.py": DEFAULT,
    "cli/options.py": DEFAULT,
    "cli/radio.py": DEFAULT,
    "cli/tokens.py": DEFAULT,
    "cli/train.py": "an example of a recipe's name; the models whose released weights are exported",
    "cli/convert.py": "the default model of the command, and what kind of model can change a voice",
    "model_folders.py": "the models that ship without weights; the error states the remedy",
    "voice.py": "the model that can change a voice, in an example and in the error for others",
    "evaluate/metrics/spectral.py": "metrics as a model's paper defines them, named by it",
    "lab/fast/residual_unit.cpp": "the fast form of a layer of one model",
    "lab/fast/residual_unit.py": "the fast form of a layer of one model",
    "lab/hf/__init__.py": DEFAULT,
    "lab/nn/activations.py": SOURCE,
    "lab/nn/attention.py": SOURCE,
    "lab/nn/conv2former.py": SOURCE,
    "lab/nn/focal.py": SOURCE,
    "lab/nn/replicated.py": SOURCE,
    "lab/quantizers/ema.py": SOURCE,
    "lab/quantizers/rvq.py": SOURCE,
    "lab/quantizers/simvq.py": SOURCE,
    "lab/training/adversarial/discriminators.py": PAPERS_DEFINE,
    "lab/training/adversarial/losses.py": PAPERS_DEFINE,
    "lab/training/adversarial/residual_discriminator.py": PAPERS_DEFINE,
    "lab/training/adversary_config.py": "a discriminator named by its paper",
    "lab/training/config.py": "the default model",
    "lab/training/losses/spectral_loss.py": PAPERS_DEFINE,
}
"""Files elsewhere that may name a model, and why."""

BENCHMARKS = {
    "boards.py": "the systems that the scoreboard compares",
    "drt.py": DEFAULT,
    "focal.py": "the speed of one model by parts",
    "iris.py": "experiments on one model",
    "pictures.py": "the pictures of the documentation",
    "spectrostream.py": "experiments on one model",
    "speed.py": DEFAULT,
    "teachers.py": "experiments on one model",
    "tqcodec.py": "experiments on one model",
    "widening.py": "the embedding of one model in a wider one",
}
"""Files of benchmarks/ that may name a model, and why."""


def test_no_shared_code_names_a_single_model() -> None:
    """A model can be added without a change to shared code, so shared code names no model."""
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in sorted(ROOT.rglob("*"))
        if path.suffix in SOURCES and NAMES_OF_MODELS.search(path.read_text())
    }
    elsewhere = {file for file in naming if not file.startswith(OF_MODELS)}
    assert elsewhere == set(NAMING)


def test_no_shared_code_imports_a_single_model() -> None:
    """Shared code knows the list of models and their interface."""
    shared = {"lab/models/__init__.py", "lab/models/model.py"}
    single = {module for module in MODULES if module.startswith("lab/models/")} - shared
    assert len(single) >= 5
    importing = {
        module: found
        for module in MODULES
        if not module.startswith(OF_MODELS) and (found := imported_modules(module) & single)
    }
    assert importing == {}


def test_no_shared_benchmark_names_a_single_model() -> None:
    folder = ROOT.parents[1] / "benchmarks"
    naming = {p.name for p in folder.glob("*.py") if NAMES_OF_MODELS.search(p.read_text())}
    assert naming == set(BENCHMARKS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("load('focal-65k')", True),
        ("isinstance(model, FocalCodec)", True),
        ("the spectrogram, by focal modulation", False),
        ("the LRAC challenge", False),
        ("is_spectrostream(folder)", True),
    ],
)
def test_names_of_models_are_found(text: str, named: bool) -> None:
    assert bool(NAMES_OF_MODELS.search(text)) == named
