"""The package in a fresh environment without torch, as most users have it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.files import describe
from chirrup.runtime import native

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / os.environ.get("CONSTRAINTS", "constraints.txt")
"""Versions to install; `make lowest` names the lowest ones that are allowed."""
EXTRAS = os.environ.get("EXTRAS", "").split()
"""Extras to install; `make lowest` names those whose packages run here."""
ARCHIVE = ROOT / "tests" / "archive"
LARGEST_MB = 190
NO_NETWORK = ("name resolution", "NewConnectionError", "Network is unreachable", "ConnectTimeout")

pytestmark = pytest.mark.slow

Run = Callable[..., str]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with only the package and its dependencies."""
    folder = tmp_path_factory.mktemp("no-torch") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    package = f"{ROOT}[{','.join(EXTRAS)}]" if EXTRAS else ROOT
    install = ["-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, package]
    command = [folder / "bin" / "python", *install]
    result = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    if result.returncode and any(words in result.stderr for words in NO_NETWORK):
        pytest.skip("the package index cannot be reached")
    assert result.returncode == 0, result.stderr
    return folder


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """Run a program of the environment in ``tmp_path``; return its output."""

    def call(program: str, *arguments: str) -> str:
        result = subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return call


@pytest.fixture
def model() -> str:
    if "iris-t1" not in chirrup.models():
        pytest.skip("no model is shipped")
    return "iris-t1"


def test_import_brings_no_torch(run: Run) -> None:
    code = "import sys, chirrup; print(chirrup.__file__, 'torch' in sys.modules)"
    file, torch = run("python", "-c", code).rsplit(maxsplit=1)
    assert not file.startswith(str(ROOT))
    assert torch == "False"
    found = run("python", "-c", "import importlib.util as u; print(u.find_spec('torch'))")
    assert found.strip() == "None"


def test_every_module_outside_the_lab_imports(run: Run) -> None:
    """But those that need an extra: the lab, ONNX Runtime's graphs, the encryption, the rooms."""
    code = """
import importlib, pkgutil, chirrup
others = "chirrup.lab", "chirrup.runtime.graph", "chirrup.live.seal", "chirrup.live.room_link"
others += ("chirrup.serve.app",)
for module in pkgutil.walk_packages(chirrup.__path__, "chirrup."):
    if not module.name.startswith(others) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    run("python", "-W", "error", "-c", code)


def test_install_is_small(environment: Path) -> None:
    packages = next(environment.glob("lib/python*/site-packages"))
    installers = ("pip", "setuptools", "pkg_resources", "_distutils_hack")  # of the environment
    files = [
        path
        for path in packages.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not path.relative_to(packages).parts[0].startswith(installers)
    ]
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    print(f"install: {size_mb:.0f} MB")
    assert size_mb < LARGEST_MB
    names = {path.name.lower() for path in packages.iterdir()}
    assert not [name for name in names if name.startswith(("torch", "nvidia", "triton"))]


def test_a_model_that_needs_onnx_runtime_names_the_extra(environment: Path, tmp_path: Path) -> None:
    code = "import chirrup, numpy; chirrup.load('focal-small').encode(numpy.zeros(480, 'f'))"
    command = [environment / "bin" / "python", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
    )
    if native.library() is None:
        pytest.skip("without the native engine, the package requires ONNX Runtime")
    assert "focal-small runs in ONNX Runtime here, and onnxruntime is not installed" in done.stderr


def test_help(run: Run) -> None:
    said = run("chirrup", "--help")
    for command in ("encode", "decode", "info", "models", "audit", "demo", "train", "export"):
        assert command in said
        assert run("chirrup", command, "--help")


def test_load_is_quick(run: Run, model: str) -> None:
    code = f"""
import time
begin = time.perf_counter()
import numpy, chirrup
imported = time.perf_counter()
codec = chirrup.load({model!r})
codec.decoder().push(codec.encoder().push(numpy.zeros(480, "float32"))[0])
print(f"import {{imported - begin:.2f}} s, load and first frame "
      f"{{time.perf_counter() - imported:.2f}} s")
"""
    print(run("python", "-c", code))


def test_a_file_there_and_back(run: Run, model: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    audio = 0.05 * random.standard_normal((44_100 + 17, 2))
    soundfile.write(tmp_path / "in.wav", audio, 44_100)
    run("chirrup", "encode", "in.wav", "out.chirrup", "--bitrate", "1000", "--model", model)
    run("chirrup", "decode", "out.chirrup", "back.wav")
    back, rate_hz = soundfile.read(tmp_path / "back.wav")
    assert (back.shape, rate_hz) == (audio.shape, 44_100)
    about = json.loads(run("chirrup", "info", "out.chirrup", "--json"))
    assert model in json.dumps(about)
    assert (tmp_path / "out.chirrup").stat().st_size < 1200


def test_models_and_audit(run: Run, model: str) -> None:
    assert model in run("chirrup", "models")
    audit = run("chirrup", "audit", model)
    assert "encoder" in audit
    assert "decoder" in audit
    assert json.loads(run("chirrup", "audit", model, "--json"))
    assert run("chirrup", "info", model)


def test_demo(run: Run, model: str, tmp_path: Path) -> None:
    run("chirrup", "demo", "folder", "--model", model)
    sounds = [path for path in (tmp_path / "folder").iterdir() if path.suffix in (".wav", ".flac")]
    assert len(sounds) >= 2
    for path in sounds:
        assert soundfile.info(path).frames > 1000


def test_doctor_and_files_of_earlier_versions(run: Run, model: str, tmp_path: Path) -> None:
    uses = {
        use["name"]: use["missing"]
        for use in json.loads(run("chirrup", "doctor", "--json"))["uses"]
    }
    for extra in EXTRAS:
        assert set(uses[extra]) <= {"PortAudio"}, extra
    for path in ARCHIVE.glob("*/*.chirrup"):
        name = describe(path)["model"]
        if EXTRAS or chirrup.load(name).spec.program_sha256:  # others need ONNX Runtime
            run("chirrup", "decode", str(path), f"{path.stem}.wav", "--force")
            assert soundfile.info(tmp_path / f"{path.stem}.wav").duration == pytest.approx(0.4)
    if "tokens" in EXTRAS:
        run("chirrup", "tokenize", f"{model}.wav", "--out", "tokens", "--model", model)
        run("chirrup", "detokenize", "tokens", "--out", "back")
        assert len(list((tmp_path / "back").rglob("*.wav"))) == 1


def test_training_says_what_it_needs(environment: Path, tmp_path: Path) -> None:
    """The error names the extra to install."""
    (tmp_path / "recipe.toml").write_text('model = "iris-t1"\nstages = []\n')
    arguments = ["train", "recipe.toml", "--out", "run"]
    result = subprocess.run(
        [environment / "bin" / "chirrup", *arguments],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "chirrup[train]" in result.stderr.replace("\n", "")
