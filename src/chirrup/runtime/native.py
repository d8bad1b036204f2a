"""The native engine: programs of operations, run by a small library in C (``native/``).

A file ``model.chirp`` has the programs of a model's encoder and decoder, as
docs/reference/program.md specifies. They need no other package than NumPy.
"""

import ctypes
import hashlib
import struct
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import ModelError
from chirrup.runtime.reading import AGAIN, read_bytes

PROGRAM = "model.chirp"
MOST_BYTES = 1 << 29
"""Largest size of a program file. Shipped programs have 1 to 13 MB."""
MOST_EXPANSION = 20
"""Largest ratio of the memory of a program and a stream to the size of the file."""
MOST_MADE_BYTES = 1 << 26
"""Memory in bytes that a program and a stream may take in addition to `MOST_EXPANSION`."""
LIBRARY = {"win32": "chirrup.dll", "darwin": "libchirrup.dylib"}.get(sys.platform, "libchirrup.so")
FOLDER = Path(__file__).parent / "library"
"""Folder of the library, not a package: Python lists a shared library in a package as a module."""
ALIGNMENT = 64
HASH = slice(64, 96)
HASHED_FROM = 96
PART_BYTES = 32
"""Bytes of a part's numbers, which begin at `HASHED_FROM`."""
OPERATION_BYTES = 128
FIRST_NUMBER = 7
"""Place of the first of an operation's own numbers."""
LOOKUP = 9
"""Kind of the operation that looks codes up; its numbers are levels, dimensions and entries."""
HANDLE_BYTES = 256
PARTS = ("encoder", "decoder")


@cache
def library() -> ctypes.CDLL | None:
    """Load the library; None if this installation has none for this machine."""
    path = FOLDER / LIBRARY
    try:
        found = ctypes.CDLL(str(path))
        _ = found.chirrup_open, found.chirrup_run
        found.chirrup_memory_size.restype = ctypes.c_size_t
        found.chirrup_state_size.restype = ctypes.c_size_t
        found.chirrup_scratch_size.restype = ctypes.c_size_t
        found.chirrup_error.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return None
    return found


def load_error() -> str:
    """Return why the library does not load."""
    path = FOLDER / LIBRARY
    if not path.exists():
        return "this installation has no native engine for this machine"
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return f"the native engine does not load: {error}"
    return f"{path} is of another version of chirrup"


def aligned(size: int) -> np.ndarray:
    """Return zeros, ``uint8 [size]``, whose address is a multiple of `ALIGNMENT`."""
    whole = np.zeros(size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + size]


def read_program(path: Path, sha256: str | None) -> tuple[bytes, str]:
    """Read a program file.

    Args:
        sha256: expected SHA-256 of the file in hexadecimal. None expects no certain one.

    Returns:
        The content and its SHA-256.

    Raises:
        ModelError: the file cannot be read, or has another hash.
    """
    content = read_bytes(path, MOST_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if found != (sha256 or found):
        raise ModelError(f"{path} is damaged or was exchanged: its hash is wrong; {AGAIN}")
    return content, found


class Program:
    """An opened program file. It is never changed, so several threads may use it.

    Args:
        path: the program file.
        sha256: expected SHA-256 of the file in hexadecimal. None expects no certain one.

    Raises:
        ModelError: the file is damaged or another one, or there is no library for this machine.

    Attributes:
        sizes: for each of `PARTS`, the sizes of a frame of the input and of the output, in samples
            or codes.
        entries: number of entries of a codebook in the decoder.
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self.path = path
        found = library()
        if found is None:
            raise ModelError(load_error())
        self.library = found
        content, self.sha256 = read_program(path, sha256)
        file = aligned(len(content))
        file[:] = np.frombuffer(content, np.uint8)
        del content
        own_hash = file[HASH].tobytes()
        if sha256 is None and hashlib.sha256(file[HASHED_FROM:].data).digest() != own_hash:
            raise ModelError(f"{path} is damaged: its hash is wrong; {AGAIN}")
        size = found.chirrup_memory_size(_address(file), ctypes.c_size_t(file.size))
        self._check_memory(size, file.size)
        self.memory = aligned(max(size, 1))
        self.handle = (ctypes.c_uint8 * HANDLE_BYTES)()
        code = found.chirrup_open(
            self.handle, _address(file), ctypes.c_size_t(file.size), _address(self.memory)
        )
        if size == 0 or code:
            raise ModelError(f"{path} cannot be opened: {found.chirrup_error(code).decode()}")
        size += sum(self.state_bytes(part) + self.scratch_bytes(part) for part in (0, 1))
        self._check_memory(size, file.size)
        heads = (HASHED_FROM + PART_BYTES * part for part in (0, 1))
        self.sizes = [struct.unpack_from("<2I", file.data, at + 24) for at in heads]
        self.entries = _entries(file)

    def _check_memory(self, size: int, file_bytes: int) -> None:
        """Raise ModelError if a program and its streams take too much memory."""
        if size > MOST_EXPANSION * file_bytes + MOST_MADE_BYTES:
            raise ModelError(
                f"{self.path} is damaged: a stream would take {size / 1e6:.0f} MB; install or "
                "export the model again"
            )

    def state_bytes(self, part: int) -> int:
        """Return the size of a stream's state, a multiple of `ALIGNMENT`."""
        return self.library.chirrup_state_size(self.handle, part)

    def scratch_bytes(self, part: int) -> int:
        """Return the size of the working memory of a call."""
        return self.library.chirrup_scratch_size(self.handle, part)

    def run(
        self, part: int, given: np.ndarray, output: np.ndarray, frames: int, state: np.ndarray
    ) -> None:
        """Run frames of one stream and change its state; see ``native/chirrup.h``.

        Raises:
            ModelError: an argument is out of range.
        """
        arrays = _address(given), _address(output), frames, _address(state)
        scratch = _address(_scratch(self.scratch_bytes(part)))
        code = self.library.chirrup_run(self.handle, part, *arrays, scratch)
        if code:
            why = self.library.chirrup_error(code).decode()
            raise ModelError(f"{self.path} cannot be run: {why}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (self.path, self.sha256)


def _entries(file: np.ndarray) -> int:
    """Return the number of entries of a codebook in the decoder of an opened program file."""
    lookup = lookup_of(decoder_operations(file.data))
    return 0 if lookup is None else int(lookup[FIRST_NUMBER + 2])


def decoder_operations(content: bytes | memoryview) -> np.ndarray:
    """Return the operations of the decoder in a program file, ``uint32 [operations, 32]``.

    Raises:
        ValueError: the file is damaged.
        struct.error: the file is damaged.
    """
    count, place = struct.unpack_from("<2I", content, HASHED_FROM + PART_BYTES)
    words = OPERATION_BYTES // 4
    return np.frombuffer(content, "<u4", count * words, ALIGNMENT * place).reshape(-1, words)


def lookup_of(operations: np.ndarray) -> np.ndarray | None:
    """Return the operation of a decoder that looks codes up, or None if it has none."""
    return next((row for row in operations if row[0] == LOOKUP), None)


class NativeEngine:
    """An `engine.Engine` that runs a part of a program.

    Its states are arrays ``float32 [batch, floats]`` whose rows begin at multiples of `ALIGNMENT`.

    Args:
        part: "encoder" or "decoder".
        frame: samples of a frame, of the input of an encoder or the output of a decoder.
        codebooks: codes of a frame.
        codebook_size: number of values of a code.

    Raises:
        ModelError: the program has frames of another size.
    """

    def __init__(
        self, program: Program, part: str, frame: int, codebooks: int, codebook_size: int
    ) -> None:
        self.program, self.part = program, PARTS.index(part)
        self.frame, self.codebooks, self.codebook_size = frame, codebooks, codebook_size
        self.floats = program.state_bytes(self.part) // 4
        sizes = (codebooks, frame) if self.part else (frame, codebooks)
        if program.sizes[self.part] != sizes:
            raise ModelError(
                f"{program.path} is damaged: a frame of its {part} has {program.sizes[self.part]} "
                f"samples and codes, model.json states {sizes}"
            )
        if program.entries != codebook_size:
            raise ModelError(
                f"{program.path} is damaged: its codebooks have {program.entries} entries, "
                f"model.json states {codebook_size}"
            )

    def initial_state(self, batch: int = 1) -> np.ndarray:
        """Return the state before the first sample of ``batch`` streams."""
        return aligned(4 * batch * self.floats).view(np.float32).reshape(batch, self.floats)

    def __call__(self, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the next frames of each stream; see `engine.Engine`."""
        self._check(x, state)
        encodes, batch = self.part == 0, len(x)
        frames = x.shape[2] // self.frame if encodes else x.shape[2]
        given = np.ascontiguousarray(x, np.float32 if encodes else np.int32)
        shape = (self.codebooks, frames) if encodes else (1, frames * self.frame)
        output = np.empty((batch, *shape), np.int32 if encodes else np.float32)
        if not output.size:
            return output, state
        after = self.initial_state(batch)
        after[:] = state
        for row in range(batch):
            self.program.run(self.part, given[row], output[row], frames, after[row])
        if encodes and not 0 <= output.min() <= output.max() < self.codebook_size:
            last = self.codebook_size - 1
            raise ModelError(f"{self.program.path} computes codes that are not from 0 to {last}")
        if not encodes and not np.isfinite(output).all():
            raise ModelError(f"{self.program.path} computes values that are not finite")
        return output, after

    def _check(self, x: np.ndarray, state: np.ndarray) -> None:
        """Raise ValueError if the library would read beyond an array."""
        row, unit = (1, self.frame) if self.part == 0 else (self.codebooks, 1)
        if x.ndim != 3 or x.shape[1] != row or x.shape[2] % unit:
            what = f"n * {unit}] samples" if self.part == 0 else "frames] codes"
            raise ValueError(
                f"the input of the native {PARTS[self.part]} must be [batch, {row}, {what}, got "
                f"{list(x.shape)}"
            )
        if state.shape != (len(x), self.floats):
            raise ValueError(
                f"the state is of a batch of {len(state)}, the input of {len(x)}: use "
                f"initial_state({len(x)}) or the state of a batch of that size"
            )

    @staticmethod
    def save(state: np.ndarray) -> dict[str, np.ndarray]:
        """Return a state as arrays."""
        return {"native": state.copy()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the state that `save` converted to arrays.

        Raises:
            ValueError: the state is of another engine.
        """
        if "native" not in saved:
            raise ValueError(
                "the state is not of the native engine: load the model with the engine 'onnx'"
            )
        values = np.asarray(saved["native"])
        if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != self.floats:
            raise ValueError(
                f"a state of the native engine must be float32 [batch, {self.floats}], got "
                f"{values.dtype} {list(values.shape)}: pass a state that save() returned"
            )
        state = self.initial_state(len(values))
        state[:] = values
        return state


_thread = threading.local()


def _scratch(size: int) -> np.ndarray:
    """Return memory of at least ``size`` bytes that belongs to this thread."""
    memory = getattr(_thread, "memory", None)
    if memory is None or memory.size < size:
        memory = _thread.memory = aligned(size)
    return memory


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
