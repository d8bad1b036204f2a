"""Compile the engine as a shared library: ``python native/build.py --help``."""

import argparse
import importlib.util
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = [
    *("-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast"),
    *("-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Wno-psabi"),
]
ISAS = {
    "base": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
"""Compiler flags of each instruction set. All but ``base`` are for x86-64 only."""


def find_compiler(target: str | None) -> list[str]:
    """Return the command of ``cc``, or of ziglang's compiler for another machine or without cc."""
    if target is None and (cc := shutil.which("cc")):
        return [cc]
    if importlib.util.find_spec("ziglang") is None:
        what = "no C compiler cc is installed" if target is None else f"--target {target} needs zig"
        sys.exit(f"{what}; run: pip install ziglang")
    return [sys.executable, "-m", "ziglang", "cc"]


def library_name(target: str | None) -> str:
    system = target or {"Darwin": "macos", "Windows": "windows"}.get(platform.system(), "")
    for part, name in (("macos", "libchirrup.dylib"), ("windows", "chirrup.dll")):
        if part in system:
            return name
    return "libchirrup.so"


def build(folder: Path, compiler: list[str], target: str | None = None) -> Path:
    """Compile the library into ``folder`` and return its path.

    Args:
        folder: created if it is missing.
        compiler: command with its first arguments.
        target: a triple of zig, such as ``aarch64-linux-gnu.2.17``; None for this machine.
    """
    command = compiler + (["-target", target] if target else [])
    machine = target.split("-")[0] if target else platform.machine()
    is_x86 = machine.lower() in ("x86_64", "amd64")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / library_name(target)
    with tempfile.TemporaryDirectory() as name:
        objects = []
        jobs = [(source, source.stem, list[str]()) for source in sorted(HERE.glob("*.c"))]
        jobs = [job for job in jobs if job[1] != "kernels"]
        for isa in ISAS if is_x86 else ("base",):
            jobs.append((HERE / "kernels.c", f"kernels_{isa}", [f"-DISA={isa}", *ISAS[isa]]))
        for source, stem, flags in jobs:
            objects.append(f"{name}/{stem}.o")
            defines = ["-DCHIRRUP_X86"] if is_x86 else []
            defines.append('-DCHIRRUP_API=__attribute__((visibility("default")))')
            if path.suffix == ".dll":
                defines[-1] = "-DCHIRRUP_API=__declspec(dllexport)"
            run([*command, *FLAGS, *flags, *defines, "-c", str(source), "-o", objects[-1]])
        whole = f"{name}/{path.name}"
        run([*command, "-shared", "-s", "-o", whole, *objects])
        shutil.move(whole, path)
    return path


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    runtime = HERE.parent / "src" / "chirrup" / "runtime"
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=runtime)
    parser.add_argument("--compiler", metavar="COMMAND", help="such as 'zig cc'; the default is cc")
    parser.add_argument(
        "--target", metavar="TRIPLE", help="machine to compile for, as zig names it"
    )
    given = parser.parse_args()
    compiler = shlex.split(given.compiler) if given.compiler else find_compiler(given.target)
    print(build(given.out, compiler, given.target))


if __name__ == "__main__":
    main()
