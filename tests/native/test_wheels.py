"""The build hook: wheels with and without the engine, of a small copy of the project."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = ["pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "native", "recipes"]
ENGINE = "chirrup/runtime/library/libchirrup.so"
GRAPHS = {"encoder.onnx", "model.safetensors"}

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("build", "hatchling")),
        reason="needs the packages build and hatchling",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project: a model of graphs, one with a program too, a program alone."""
    folder = tmp_path / "project"
    for name in PROJECT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    package = folder / "src" / "chirrup"
    (package / "runtime").mkdir(parents=True)
    (package / "__init__.py").touch()
    models = {"old": GRAPHS, "new": GRAPHS | {"model.chirp"}, "alone": {"model.chirp"}}
    for model, names in models.items():
        (package / "zoo" / model).mkdir(parents=True)
        for name in names | {"model.json"}:
            (package / "zoo" / model / name).touch()
    return folder


def wheel(project: Path, **environment: str) -> tuple[str, set[str], bool]:
    """Build a wheel; return its tag, its files, and whether it requires ONNX Runtime."""
    folder = project.parent / "wheels"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(
        [*command, str(project)], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        required = re.search(
            "^Requires-Dist: onnxruntime[^;]*$", archive.read(metadata).decode(), re.M
        )
        return path.stem.split("-", 2)[2], set(archive.namelist()), required is not None


def of_model(name: str, files: set[str]) -> set[str]:
    return {Path(file).name for file in files if file.startswith(f"chirrup/zoo/{name}/")}


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_wheel_with_the_engine_has_programs_instead_of_graphs(project: Path) -> None:
    tag, files, requires_onnx = wheel(project)
    assert not requires_onnx
    assert tag.startswith("py3-none-")
    assert "linux_" in tag
    assert ENGINE in files
    assert of_model("new", files) == {"model.json", "model.chirp"}
    assert of_model("old", files) == GRAPHS | {"model.json"}
    assert of_model("alone", files) == {"model.json", "model.chirp"}


@pytest.mark.parametrize("environment", [{"CHIRRUP_TARGET": "any"}, {"PATH": "/nowhere"}])
def test_a_wheel_without_the_engine_has_no_programs_and_is_for_any_machine(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ziglang'] = None\n")
    tag, files, requires_onnx = wheel(project, PYTHONPATH=str(tmp_path), **environment)
    assert requires_onnx
    assert tag == "py3-none-any"
    assert ENGINE not in files
    assert of_model("new", files) == GRAPHS | {"model.json"}
    assert of_model("old", files) == GRAPHS | {"model.json"}
    assert of_model("alone", files) == {"model.json", "model.chirp"}


def test_the_engine_is_compiled_again_only_if_a_source_has_changed(project: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    build = [sys.executable, str(project / "native" / "build.py"), "--if-changed"]
    library = project / "src" / ENGINE

    def compiled() -> bool:
        return subprocess.run(build, check=True, capture_output=True).stdout != b""

    assert compiled()
    assert library.is_file()
    assert not compiled()
    later = library.stat().st_mtime + 10
    os.utime(project / "native" / "run.c", (later, later))
    assert compiled()
