"""Compile the engine as a shared library: ``python native/build.py --help``."""

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent / "src" / "chirrup" / "runtime" / "library"
"""Where `chirrup.runtime.native` looks for the library."""
NO_COMPILER = 3
"""Exit status if this machine has no C compiler."""
FLAGS = [
    *("-std=gnu11", "-O3", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno"),
    *("-fno-trapping-math", "-Wall", "-Wextra", "-Wno-psabi"),
]
WASM_FLAGS = ["-msimd128", "-mbulk-memory", "-ffreestanding", f"-I{HERE / 'wasm'}"]
WASM_LINK = [
    *("-nostdlib", "-Wl,--no-entry", "-Wl,--export-dynamic", "-Wl,--export=__heap_base"),
    *("-Wl,--gc-sections", "-Wl,-z,stack-size=65536"),
]
ISAS = {
    "base": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
"""Compiler flags of each instruction set. All but ``base`` are for x86-64 only."""
MACOS = "11.0"
"""The lowest version of macOS that the library is for."""


PKG_CONFIG = """\
prefix={prefix}

Name: chirrup
Description: Engine for streaming neural audio codecs
Version: {version}
Cflags: -I${{prefix}}/include
Libs: -L${{prefix}}/lib -lchirrup
"""


class NoCompilerError(Exception):
    """This machine has no C compiler."""


def find_compiler(target: str | None) -> list[str]:
    """Return the command of ``cc``, or of ziglang's compiler for another machine or without cc."""
    if target is None and (cc := shutil.which("cc")):
        return [cc]
    if importlib.util.find_spec("ziglang") is None:
        what = "no C compiler cc is installed" if target is None else f"--target {target} needs zig"
        raise NoCompilerError(f"{what}; to compile the native engine, run: pip install ziglang")
    here = [] if target else ["-mcpu=baseline"]  # zig alone compiles for this very processor
    return [sys.executable, "-m", "ziglang", "cc", *here]


def check_target(target: str) -> None:
    """Raise ValueError if a target does not have the form of zig's triples."""
    if target.count("-") < 1 or not all(target.split("-")):
        raise ValueError(f"the target {target!r} is not a triple such as aarch64-linux-gnu.2.17")


def system_of(target: str | None) -> str:
    """Return "linux", "macos", "windows", "freestanding" or another system of a target."""
    if target:
        return target.split("-")[1].split(".")[0]
    return {"darwin": "macos"}.get(system := platform.system().lower(), system)


def library_name(target: str | None) -> str:
    names = {"macos": "libchirrup.dylib", "windows": "chirrup.dll", "freestanding": "chirrup.wasm"}
    return names.get(system_of(target), "libchirrup.so")


def is_current(path: Path) -> bool:
    """Return whether a library is newer than its sources."""
    sources = [*HERE.glob("*.c"), *HERE.glob("*.h"), Path(__file__)]
    return path.is_file() and path.stat().st_mtime >= max(s.stat().st_mtime for s in sources)


def build(folder: Path, compiler: list[str], target: str | None = None) -> Path:
    """Compile the library into ``folder`` and return its path.

    Args:
        folder: created if it is missing.
        compiler: command with its first arguments.
        target: a triple of zig, such as ``aarch64-linux-gnu.2.17``; None for this machine.
    """
    command = compiler + (["-target", target] if target else [])
    system, machine = system_of(target), target.split("-")[0] if target else platform.machine()
    is_x86 = machine.lower() in ("x86_64", "amd64")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / library_name(target)
    api = '__attribute__((visibility("default")))'
    if system == "windows":
        api = "__declspec(dllexport)"
    flags = [*FLAGS, f"-DCHIRRUP_API={api}", *(["-DCHIRRUP_X86"] if is_x86 else [])]
    link = ["-shared", "-s"]
    if system == "freestanding":
        flags, link = [*flags, *WASM_FLAGS], ["-s", *WASM_LINK]
    elif system != "windows":
        flags.append("-fPIC")
    if system == "macos":
        link = ["-shared", "-s", "-Wl,-dead_strip", f"-Wl,-install_name,@rpath/{path.name}"]
        if target is None:
            flags, link = ([*some, f"-mmacosx-version-min={MACOS}"] for some in (flags, link))
    else:
        link.append("-Wl,--gc-sections")  # without this, zig links all of its compiler-rt
    jobs = [(s, s.stem, list[str]()) for s in sorted(HERE.glob("*.c")) if s.stem != "kernels"]
    for isa in ISAS if is_x86 else ("base",):
        # On x86-64 only old processors run the base kernels; -O2 makes the library smaller.
        more = ["-O2"] if is_x86 and isa == "base" else ISAS[isa]
        jobs.append((HERE / "kernels.c", f"kernels_{isa}", [f"-DISA={isa}", *more]))
    if system == "freestanding":
        jobs.append((HERE / "wasm" / "memory.c", "memory", ["-fno-builtin"]))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as name:
        objects = []
        for source, stem, more in jobs:
            objects.append(f"{name}/{stem}.o")
            run([*command, *flags, *more, "-c", str(source), "-o", objects[-1]])
        whole = f"{name}/{path.name}"
        run([*command, *link, "-o", whole, *objects])
        os.replace(whole, path)  # a process that has loaded the old library keeps it
    return path


def install(prefix: Path, compiler: list[str], target: str | None = None) -> Path:
    """Compile the library into ``prefix/lib``, with its header and a pkg-config file."""
    prefix = prefix.resolve()
    library = build(prefix / "lib", compiler, target)
    (prefix / "include").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "chirrup.h", prefix / "include")
    (prefix / "lib" / "pkgconfig").mkdir(exist_ok=True)
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    escaped = prefix.as_posix().replace(" ", "\\ ")
    text = PKG_CONFIG.format(prefix=escaped, version=project["version"])
    (prefix / "lib" / "pkgconfig" / "chirrup.pc").write_text(text, encoding="utf-8")
    return library


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=LIBRARY)
    parser.add_argument("--compiler", metavar="COMMAND", help="such as 'zig cc'; the default is cc")
    parser.add_argument(
        "--target", metavar="TRIPLE", help="machine to compile for, as zig names it"
    )
    parser.add_argument(
        "--if-changed", action="store_true", help="only if a source is newer than the library"
    )
    parser.add_argument(
        "--install",
        metavar="PREFIX",
        type=Path,
        help="also install the header and a pkg-config file",
    )
    given = parser.parse_args()
    try:
        make(given)
    except NoCompilerError as error:
        print(error, file=sys.stderr)
        sys.exit(NO_COMPILER)
    except (OSError, ValueError) as error:
        parser.error(str(error))


def make(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if given.target:
        check_target(given.target)
    if given.install and system_of(given.target) == "freestanding":
        raise ValueError("pkg-config is not for WebAssembly: use --out FOLDER instead of --install")
    if given.if_changed and is_current(given.out / library_name(given.target)):
        return
    compiler = shlex.split(given.compiler) if given.compiler else find_compiler(given.target)
    if given.install:
        print(install(given.install, compiler, given.target))
    else:
        print(build(given.out, compiler, given.target))


if __name__ == "__main__":
    main()
