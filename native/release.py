"""Build a release and try it: ``python native/release.py``.

It builds the source distribution and the wheels of all platforms, checks their descriptions with
twine, and installs each that runs on this machine in a fresh environment, outside the checkout.
There it runs ``chirrup doctor`` and ``chirrup demo``, and decodes the files in ``tests/archive``,
which earlier versions wrote. It uploads nothing. It needs the packages of the extra ``wheels``.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from hatch_build import ANY  # noqa: E402

LARGEST_BYTES = 100 * 2**20
"""Largest file that PyPI takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python",
        action="append",
        metavar="PROGRAM",
        help="Python to install the wheel of this machine with, besides this one",
    )
    parser.add_argument(
        "--this-machine",
        action="store_true",
        help="build no wheels of other platforms, to try this script",
    )
    given = parser.parse_args()
    version = check_versions(ROOT)
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    build(out, given.this_machine)
    check_sizes(out)
    files = sorted(map(str, out.iterdir()))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    own = _run_here(out)
    for python, file in [
        *((sys.executable, file) for file in (*out.glob("*.tar.gz"), *own, *out.glob("*-any.whl"))),
        *((python, file) for python in given.python or () for file in own),
    ]:
        print(f"{file.name} with {python}", flush=True)
        try_file(python, file, version)
    print(f"{len(files)} files of version {version} in {out} are ready to be uploaded")


def check_versions(root: Path) -> str:
    """Return the version, which all files state.

    Raises:
        SystemExit: the files state different versions, or the changelog has no date.
    """
    found = {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    }
    for name, pattern in {
        "src/chirrup/__init__.py": r'^__version__ = "(.*)"$',
        "CITATION.cff": r"^version: (.*)$",
        "CHANGELOG.md": r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$",
    }.items():
        match = re.search(pattern, (root / name).read_text(), re.M)
        found[name] = match[1] if match else "none"
    if len(set(found.values())) > 1:
        states = ", ".join(f"{name} {version}" for name, version in found.items())
        raise SystemExit(f"the files state different versions: {states}")
    return found["pyproject.toml"]


def check_sizes(out: Path) -> None:
    """Check that PyPI takes every file.

    Raises:
        SystemExit: a file is too large.
    """
    for file in out.iterdir():
        if (size := file.stat().st_size) > LARGEST_BYTES:
            raise SystemExit(f"{file} has {size} bytes, and PyPI takes at most {LARGEST_BYTES}")


def build(out: Path, this_machine: bool) -> None:
    """Build the source distribution and the wheels."""
    if not this_machine:
        subprocess.run([sys.executable, ROOT / "native" / "wheels.py", "--out", out], check=True)
        return
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    subprocess.run([*command, "--sdist", "--wheel"], check=True)
    environment = os.environ | {"CHIRRUP_TARGET": ANY}
    subprocess.run([*command, "--wheel"], check=True, env=environment)


def _run_here(out: Path) -> list[Path]:
    """Return the wheels with the engine that this machine can install, by the order of pip."""
    command = [sys.executable, "-m", "pip", "debug", "--verbose"]
    tags = re.findall(
        r"\bpy3-none-\w+", subprocess.run(command, capture_output=True, text=True).stdout
    )
    ranks = {tag: rank for rank, tag in enumerate(tags) if not tag.endswith("-any")}
    found = {
        wheel: min(ranks[tag] for tag in own)
        for wheel in out.glob("*.whl")
        if (own := ranks.keys() & _tags(wheel))
    }
    return sorted(found, key=lambda wheel: found[wheel])[:1]


def _tags(wheel: Path) -> set[str]:
    python, abi, platforms = wheel.stem.split("-")[-3:]
    return {f"{python}-{abi}-{platform}" for platform in platforms.split(".")}


def try_file(python: str, file: Path, version: str) -> None:
    """Install a file in a fresh environment and use it in an empty folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "CHIRRUP_ENGINE")
        environment = {key: text for key, text in os.environ.items() if key not in hidden}

        def run(*command: object) -> str:
            words = list(map(str, command))
            done = subprocess.run(
                words, cwd=folder, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
            return done.stdout

        run(python, "-m", "venv", folder / "venv")
        chirrup = folder / "venv" / "bin" / "chirrup"
        run(chirrup.with_name("python"), "-m", "pip", "install", "--quiet", f"{file}[onnx]")
        if f"chirrup {version}\n" not in run(chirrup, "--version"):
            raise SystemExit(f"{file.name} has another version than {version}")
        print(run(chirrup, "doctor"), run(chirrup, "demo", folder / "demo"), flush=True)
        for coded in sorted((ROOT / "tests" / "archive").glob("*/*.chirrup")):
            run(chirrup, "decode", coded, folder / f"{coded.parent.name}-{coded.stem}.wav")


if __name__ == "__main__":
    main()
