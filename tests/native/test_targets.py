"""Libraries for other machines, compiled by zig, compute what this machine's library computes.

A run compiles for three machines, which takes 20 s the first time. Zig keeps what it compiled.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from small_model import speech_like
from small_programs import programs

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
DRIVER = Path(__file__).with_name("driver.c")
ZIG = [sys.executable, "-m", "ziglang", "cc"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ziglang") is None, reason="needs the package ziglang"
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]


@dataclass(frozen=True)
class Emulator:
    """A command that runs programs of a target, and what it needs."""

    command: tuple[str, ...]
    needs: tuple[str, ...]


EMULATORS = {
    "x86_64-linux-gnu.2.17": Emulator((), ()),
    "aarch64-linux-gnu.2.17": Emulator(
        ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
        ("/usr/bin/qemu-aarch64", "/usr/aarch64-linux-gnu/lib"),
    ),
    "x86_64-windows-gnu": Emulator(("/usr/lib/wine/wine64",), ("/usr/lib/wine/wine64",)),
}


def compiled(folder: Path, target: str | None) -> Path:
    """Compile the library and the driver into ``folder``; return the driver."""
    build = [sys.executable, str(NATIVE / "build.py"), "--out", str(folder)]
    done = subprocess.run(
        build + (["--target", target] if target else []), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    compiler = [*ZIG, "-target", target] if target else ["cc"]
    program = folder / "driver.exe"
    library = [done.stdout.strip()] if target and "windows" in target else ["-lchirrup"]
    command = [*compiler, "-O1", f"-I{NATIVE}", str(DRIVER), f"-L{folder}", *library, "-o"]
    subprocess.run([*command, str(program)], check=True)
    return program


def driven(
    driver: Path, emulator: tuple[str, ...], folder: Path, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes and the audio that a driver computes."""
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(driver.parent),
        "WINEPREFIX": str(folder / "wine"),
        "WINEDEBUG": "-all",
    }
    names = [name, "in.f32", "codes.i32", "out.f32"]
    subprocess.run([*emulator, driver, *names], cwd=folder, env=environment, check=True)
    return results(folder)


def results(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    codes = np.fromfile(folder / "codes.i32", np.int32)
    assert len(codes) > 10
    return codes, np.fromfile(folder / "out.f32", np.float32)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("here"), None)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 machine")
@pytest.mark.parametrize("target", EMULATORS)
def test_a_target_computes_what_this_machine_computes(
    target: str, here: Path, tmp_path: Path
) -> None:
    emulator = EMULATORS[target]
    if missing := [path for path in emulator.needs if not Path(path).exists()]:
        pytest.skip(f"needs {', '.join(missing)}")
    there = compiled(tmp_path / "there", target)
    speech_like(12_000, 1).astype("<f4").tofile(tmp_path / "in.f32")
    for name, data in programs():
        (tmp_path / name).write_bytes(data)
        codes, audio = driven(here, (), tmp_path, name)
        other_codes, other_audio = driven(there, emulator.command, tmp_path, name)
        assert np.array_equal(other_codes, codes)
        assert np.square(other_audio - audio).mean() < 1e-8 * np.square(audio).mean()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_webassembly_computes_what_this_machine_computes(here: Path, tmp_path: Path) -> None:
    build = [sys.executable, str(NATIVE / "build.py"), "--target", "wasm32-freestanding"]
    subprocess.run([*build, "--out", str(tmp_path)], check=True)
    speech_like(12_000, 1).astype("<f4").tofile(tmp_path / "in.f32")
    script = DRIVER.with_name("frames.mjs")
    node = ["node", str(script), str(NATIVE / "wasm" / "chirrup.js"), "chirrup.wasm"]
    for name, data in programs():
        (tmp_path / name).write_bytes(data)
        codes, audio = driven(here, (), tmp_path, name)
        subprocess.run([*node, name, "in.f32", "codes.i32", "out.f32"], cwd=tmp_path, check=True)
        other_codes, other_audio = results(tmp_path)
        # WebAssembly rounds each product and sum, so a near tie may give another code, and then
        # other codes at the later levels: at most 4 of the 100.
        assert (other_codes == codes).mean() > 0.95
        if np.array_equal(other_codes, codes):
            assert np.square(other_audio - audio).mean() < 1e-8 * np.square(audio).mean()


def processor_set() -> int:
    """Return the instruction set that the kernel lists: 0, 1 AVX2, 2 AVX-512, or 3 with VNNI."""
    flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].split("\n")[0].split())
    if not {"avx2", "fma", "f16c"} <= flags:
        return 0
    if not {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return 1
    return 3 if "avx512_vnni" in flags else 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 machine")
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs /proc/cpuinfo")
@pytest.mark.parametrize("compiler", [["cc"], [*ZIG, "-target", "x86_64-linux-gnu.2.17"]])
def test_the_instruction_set_of_the_processor_is_found(compiler: list[str], tmp_path: Path) -> None:
    """With zig, __builtin_cpu_supports returns 0 for every set."""
    source = tmp_path / "set.c"
    source.write_text('#include "cpu.h"\nint main(void) { return instruction_set(); }\n')
    program = tmp_path / "set"
    command = [*compiler, "-DCHIRRUP_X86", f"-I{NATIVE}", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    assert subprocess.run([program]).returncode == processor_set()
