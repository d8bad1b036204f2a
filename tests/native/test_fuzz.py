"""Damaged programs give an error code or run inside their memory.

By hand, more rounds: ``PYTHONPATH=tests/support python tests/native/test_fuzz.py 100000``.
"""

import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chirrup.lab.export.decoder_only import without_encoder
from chirrup.lab.nn.program import OPERATIONS
from small_programs import programs

NATIVE = Path(__file__).parents[2] / "native"

FLAGS = [
    "-std=gnu11",
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-math-errno",
    "-Wno-psabi",
]


def instruction_sets() -> dict[str, list[str]]:
    """Return the compiler's flags of each instruction set of this machine."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return {"base": []}
    return runpy.run_path(str(NATIVE / "build.py"))["ISAS"]


def compiled(folder: Path) -> Path:
    """Return a fuzzer with the engine's kernels of all instruction sets and sanitizers."""
    program = folder / "fuzz"
    sets = instruction_sets()
    command = ["cc", *FLAGS, f"-I{NATIVE}", *(["-DCHIRRUP_X86"] if len(sets) > 1 else [])]
    for name, flags in sets.items():
        source, into = NATIVE / "kernels.c", folder / f"{name}.o"
        subprocess.run([*command, *flags, f"-DISA={name}", "-c", source, "-o", into], check=True)
    sources = [*NATIVE.glob("*.c"), Path(__file__).with_name("fuzz.c")]
    sources.remove(NATIVE / "kernels.c")
    objects = [folder / f"{name}.o" for name in sets]
    subprocess.run([*command, *sources, *objects, "-o", program], check=True)
    return program


def fuzz(folder: Path, rounds: int) -> str:
    fuzzer, reports, kinds = compiled(folder), [], set[int]()
    every = list(programs())
    for name, data in [*every, ("decoder-only", without_encoder(every[0][1]))]:
        path = folder / name
        path.write_bytes(data)
        done = subprocess.run([fuzzer, path, str(rounds), "1"], capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
        reports.append(f"{name}: {done.stdout}")
        kinds |= kinds_of(data)
    assert kinds == set(range(len(OPERATIONS)))
    return "".join(reports)


def kinds_of(data: bytes) -> set[int]:
    kinds = set[int]()
    for part in (96, 128):
        count, at = (int.from_bytes(data[part + n : part + n + 4], "little") for n in (0, 4))
        kinds |= {data[64 * at + 128 * n] for n in range(count)}
    return kinds


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_damaged_program_gives_an_error_or_runs_inside_its_memory(tmp_path: Path) -> None:
    fuzz(tmp_path, 400)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        print(fuzz(Path(name), int(sys.argv[1])))
