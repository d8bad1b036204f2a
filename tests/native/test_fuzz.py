"""Damaged programs give an error code or run inside their memory.

By hand, more rounds: ``PYTHONPATH=tests/support python tests/native/test_fuzz.py 100000``.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    "-DISA=base",
]


def compiled(folder: Path) -> Path:
    """Return a fuzzer with the engine's portable kernels and sanitizers."""
    program = folder / "fuzz"
    sources = [*NATIVE.glob("*.c"), Path(__file__).with_name("fuzz.c")]
    subprocess.run(["cc", *FLAGS, f"-I{NATIVE}", *sources, "-o", program], check=True)
    return program


def fuzz(folder: Path, rounds: int) -> str:
    fuzzer, reports, kinds = compiled(folder), [], set[int]()
    for name, data in programs():
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
