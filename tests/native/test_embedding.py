"""The example in C against the engine in Python, and the sizes in the documentation."""

import os
import runpy
import shutil
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import chirrup.zoo
from chirrup.lab.export.decoder_only import without_encoder
from chirrup.runtime import native
from small_model import speech_like
from small_programs import programs

ROOT = Path(__file__).parents[2]
BITS = 10


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return a folder where the library is installed."""
    if shutil.which("cc") is None or sys.platform == "win32":
        pytest.skip("needs a C compiler cc")
    folder = tmp_path / "prefix"
    command = [sys.executable, str(ROOT / "native" / "build.py"), "--install", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def flags_of(prefix: Path) -> list[str]:
    """Return the compiler flags that pkg-config prints."""
    folder = prefix / "lib" / "pkgconfig"
    if shutil.which("pkg-config") is None:
        fields = (folder / "chirrup.pc").read_text().replace("${prefix}", str(prefix)).splitlines()
        return " ".join(f.split(": ")[1] for f in fields if f[:4] in ("Cfla", "Libs")).split()
    command = ["pkg-config", "--cflags", "--libs", "chirrup"]
    environment = os.environ | {"PKG_CONFIG_PATH": str(folder)}
    return subprocess.check_output(command, env=environment, text=True).split()


def test_the_example_codes_and_decodes_a_wav_file(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = tmp_path / "wav"
    source = ROOT / "native" / "example" / "wav.c"
    compiler = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-misleading-indentation"]
    subprocess.run([*compiler, source, *flags_of(prefix), "-o", example], check=True)
    data = dict(programs())["iris"]
    (tmp_path / native.PROGRAM).write_bytes(data)
    step, codebooks = struct.unpack_from("<2I", data, 96 + 24)
    frames = 20
    pcm = (speech_like(step * frames, 1) * 20_000).astype("<i2")[: -step // 3]
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(pcm.tobytes())

    names = [native.PROGRAM, str(BITS), "in.wav", "packets", "out.wav"]
    loader = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")}
    subprocess.run([example, *names], cwd=tmp_path, env=loader, check=True)
    (tmp_path / "decoder.chirp").write_bytes(without_encoder(data))
    command = [example, "decoder.chirp", str(BITS), "in.wav", "none", "none.wav"]
    done = subprocess.run(command, cwd=tmp_path, env=loader, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "decoder.chirp: the program has no encoder, it only decodes\n"
    command = [example, native.PROGRAM, str(BITS), native.PROGRAM, "packets", "out.wav"]
    done = subprocess.run(command, cwd=tmp_path, env=loader, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == f"{native.PROGRAM} is not a mono WAV file with 16 bits\n"

    monkeypatch.setattr(native, "FOLDER", prefix / "lib")
    native.library.cache_clear()
    program = native.Program(tmp_path / native.PROGRAM)
    native.library.cache_clear()  # the next test loads its own
    encode, decode = (
        native.NativeEngine(program, p, step, codebooks, program.entries) for p in native.PARTS
    )
    audio = np.zeros((1, 1, step * frames), np.float32)
    audio[0, 0, : len(pcm)] = pcm / np.float32(32768)
    codes, _ = encode(audio, encode.initial_state())
    sound, _ = decode(codes, decode.initial_state())

    packets = np.fromfile(tmp_path / "packets", np.uint8).reshape(frames, -1)
    bits = np.unpackbits(packets, axis=1, bitorder="little")[:, : codebooks * BITS]
    found = bits.reshape(frames, codebooks, BITS) @ (1 << np.arange(BITS))
    assert np.array_equal(found.T, codes[0])
    with wave.open(str(tmp_path / "out.wav"), "rb") as file:
        back = np.frombuffer(file.readframes(len(pcm) + 1), "<i2")
    assert len(back) == len(pcm)
    assert np.abs(back - np.clip(sound[0, 0, : len(pcm)] * 32767, -32768, 32767)).max() <= 1


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_the_header_is_for_cpp_too(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "error.cpp"
    source.write_text('#include "chirrup.h"\nint main() { return !chirrup_error(CHIRRUP_OK); }\n')
    subprocess.run(["c++", source, *flags_of(prefix), "-o", tmp_path / "error"], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "nonsense"], "is not a triple"),
        (["--compiler", "nosuchcc"], "nosuchcc"),
        (["--target", "wasm32-freestanding", "--install", "there"], "use --out FOLDER"),
        (["--out", "file"], "file"),
    ],
)
def test_a_wrong_build_is_explained(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, str(ROOT / "native" / "build.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sizes_in_the_documentation_are_those_of_the_shipped_programs() -> None:
    page = (ROOT / "docs" / "reference" / "program.md").read_text()
    row_of = runpy.run_path(str(ROOT / "native" / "sizes.py"))["program_row"]
    for name in chirrup.models():
        path = chirrup.zoo.FOLDER / name / native.PROGRAM
        assert not path.exists() or row_of(path, name) in page, "run native/sizes.py"
