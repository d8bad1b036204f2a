"""Build hook of wheels: it compiles the native engine, and the engine in WebAssembly for the page.

A wheel with the engine is for one platform. If a model has a program of the engine, the wheel has
the program and not the ONNX graphs. Without a C compiler the wheel is for any platform: it has no
engine and no programs of models that have graphs, and it requires the packages of the extra
``onnx``. So does an editable install without the engine.

The page of a wheel that was built without zig lacks its engine.

The environment variable CHIRRUP_TARGET compiles for another machine: a triple of zig (see
native/wheels.py), or "any" for a wheel without the engine.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TAGS = {
    "x86_64-linux-gnu.2.17": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "aarch64-linux-gnu.2.17": "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "x86_64-linux-musl": "musllinux_1_1_x86_64",
    "aarch64-linux-musl": "musllinux_1_1_aarch64",
    "x86_64-macos.11.0": "macosx_11_0_x86_64",
    "aarch64-macos.11.0": "macosx_11_0_arm64",
    "x86_64-windows-gnu": "win_amd64",
}
"""Platform tags of the targets."""
ANY = "any"
WASM = "wasm32-freestanding"
PROGRAM = "model.chirp"
REPLACED = ("*.onnx", "model.safetensors")
"""Files of a model that its program replaces. pyproject.toml excludes both from wheels."""


class NativeEngineHook(BuildHookInterface[Any]):
    """Add the engine to a wheel and set its tag; in an editable install, compile it in place."""

    PLUGIN_NAME = "custom"
    folder: str | None = None
    page_folder: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        script = Path(self.root) / "native" / "build.py"
        target = os.environ.get("CHIRRUP_TARGET")
        output = None
        if version == "editable":
            output = self.compile([str(script), "--if-changed"])
        elif target != ANY:
            self.folder = tempfile.mkdtemp()
            command = [str(script), "--out", self.folder, *(["--target", target] if target else [])]
            output = self.compile(command, required=target is not None)
        if output is None:
            build_data["dependencies"] += self.metadata.core.optional_dependencies["onnx"]
        if version == "editable":
            return
        library = Path(output) if output else None
        if library:
            build_data["force_include"][str(library)] = f"chirrup/runtime/library/{library.name}"
            tag = TAGS[target] if target else platform_tag(library)
            build_data["tag"], build_data["pure_python"] = f"py3-none-{tag}", False
        self.add_page(build_data["force_include"])
        for model in (Path(self.root) / "src" / "chirrup" / "zoo").iterdir():
            for path in replaced_or_program(model, engine=library is not None):
                build_data["force_include"][str(path)] = f"chirrup/zoo/{model.name}/{path.name}"

    def add_page(self, included: dict[str, str]) -> None:
        """Add the parts of the page that are not in ``web/``: the engine and its script."""
        native = Path(self.root) / "native"
        included[str(native / "wasm" / "chirrup.js")] = "chirrup/web/chirrup.js"
        self.page_folder = tempfile.mkdtemp()
        command = [str(native / "build.py"), "--target", WASM, "--out", self.page_folder]
        if output := self.compile(command):
            included[output] = "chirrup/runtime/library/chirrup.wasm"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        for folder in filter(None, (self.folder, self.page_folder)):
            shutil.rmtree(folder)

    def compile(self, command: list[str], required: bool = False) -> str | None:
        """Run ``native/build.py``; return its output, or None if it cannot compile here."""
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
        if required:
            raise RuntimeError(done.stderr)
        self.app.display_warning(f"Left out: {done.stderr.strip()}")
        return None


def replaced_or_program(model: Path, *, engine: bool) -> list[Path]:
    """Return the files of a model that a wheel needs: its program, or its graphs and weights.

    Args:
        engine: whether the wheel has the engine. A model without graphs has its program anyway.
    """
    graphs = [path for pattern in REPLACED for path in model.glob(pattern)]
    program = model / PROGRAM
    return [program] if program.exists() and (engine or not graphs) else graphs


def platform_tag(library: Path) -> str:
    """Return the tag of a library that was compiled for this machine."""
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        return TAGS[f"{'aarch64' if machine == 'arm64' else machine}-macos.11.0"]
    versions = re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())
    if sys.platform == "linux" and versions:
        return f"manylinux_2_{max(17, *map(int, versions))}_{machine}"
    return re.sub(r"[-.]", "_", sysconfig.get_platform())
