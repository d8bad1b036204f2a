"""Print the tables of sizes in docs/reference/program.md: ``python native/sizes.py PROGRAM ...``.

``build.py`` compiles the libraries with ziglang.
"""

import argparse
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = {
    "x86_64-linux-gnu.2.17": "Linux, x86-64 (four instruction sets)",
    "aarch64-linux-gnu.2.17": "Linux, aarch64",
    "x86_64-macos.11.0": "macOS, x86-64 (four instruction sets)",
    "aarch64-macos.11.0": "macOS, aarch64",
    "x86_64-windows-gnu": "Windows, x86-64 (four instruction sets, 70 kB of the C runtime)",
    "wasm32-freestanding": "WebAssembly, SIMD128",
}
OPERATION, VALUE, UNIT = 128, 16, 64  # bytes; docs/reference/program.md


def code_table() -> str:
    rows = ["| target | library, kB |", "|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for target, name in TARGETS.items():
            command = [sys.executable, HERE / "build.py", "--out", folder, "--target", target]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(f"| {name} | {Path(done.stdout.strip()).stat().st_size / 1000:.0f} |")
    return "\n".join(rows)


def program_row(path: Path, name: str) -> str:
    """Return a row of sizes, all from the header of a program."""
    with path.open("rb") as file:
        head = file.read(160)
    frames, exact, half = struct.unpack_from("<3I", head, 12)
    (int8,) = struct.unpack_from("<I", head, 40)
    parts = [struct.unpack_from("<8I", head, 96 + 32 * n) for n in range(2)]
    lists = sum(_padded(OPERATION * part[0]) + _padded(VALUE * part[2]) for part in parts)
    opened = UNIT * (exact + half) + _padded(UNIT * int8 // 4) + lists
    sizes = [
        UNIT * exact,
        UNIT * half // 2,
        UNIT * int8 // 4,
        opened,
        opened + _padded(UNIT * half // 2),
        *(4 * part[4] for part in parts),
        4 * max(part[5] for part in parts),
    ]
    cells = [name, *(f"{size / 1000:,.0f}" for size in sizes), str(frames)]
    return f"| {' | '.join(cells)} |"


def _padded(size: int) -> int:
    return -size % UNIT + size


def name_of(path: Path) -> str:
    """Return the name of a model: the file's name, or the folder's name for a ``model.chirp``."""
    return path.parent.name if path.stem == "model" else path.stem


COLUMNS = [
    "model",
    "float32 weights in the file, kB",
    "float16 weights in the file, kB",
    "int8 weights in the file, kB",
    "opened program, kB",
    "opened program with AVX2 or AVX-512, kB",
    "state of an encoder, kB",
    "state of a decoder, kB",
    "scratch memory, kB",
    "frames computed at once",
]


def program_table(paths: list[Path]) -> str:
    lines = [" | ".join(COLUMNS), "|".join("---" for _ in COLUMNS)]
    rows = [program_row(path, name_of(path)) for path in paths]
    return "\n".join([f"| {lines[0]} |", f"|{lines[1]}|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", metavar="PROGRAM", type=Path, nargs="+")
    programs = parser.parse_args().programs
    try:
        table = program_table(programs)
    except (OSError, struct.error) as error:
        parser.error(f"a program cannot be read: {error}")
    print(code_table(), table, sep="\n\n")


if __name__ == "__main__":
    main()
