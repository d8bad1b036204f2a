"""The native engine: programs of operations, run by a small library in C (``native/``).

A file ``model.chirp`` has the programs of a model's encoder and decoder, as
docs/reference/program.md specifies. They need no other package than NumPy. `Codec` does not use
them yet: it runs in ONNX Runtime.
"""

import ctypes
import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import ModelError

PROGRAM = "model.chirp"
LIBRARY = {"win32": "chirrup.dll", "darwin": "libchirrup.dylib"}.get(sys.platform, "libchirrup.so")
FOLDER = Path(__file__).parent
"""Folder of the library."""
ALIGNMENT = 64
HASH = slice(64, 96)
HASHED_FROM = 96
HANDLE_BYTES = 256
PARTS = ("encoder", "decoder")


@cache
def library() -> ctypes.CDLL | None:
    """Load the library; None if this installation has none for this machine."""
    path = FOLDER / LIBRARY
    try:
        found = ctypes.CDLL(str(path))
        found.chirrup_memory_size.restype = ctypes.c_size_t
        found.chirrup_state_size.restype = ctypes.c_size_t
        found.chirrup_scratch_size.restype = ctypes.c_size_t
        found.chirrup_error.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return None
    return found


def aligned(size: int) -> np.ndarray:
    """Return zeros, ``uint8 [size]``, whose address is a multiple of `ALIGNMENT`."""
    whole = np.zeros(size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + size]


class Program:
    """An opened program file. It is never changed, so several threads may use it.

    Raises:
        ModelError: the file is damaged, or there is no library for this machine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = library()
        if found is None:
            raise ModelError("this installation has no native engine for this machine")
        self.library = found
        content = np.fromfile(path, np.uint8)
        file = aligned(content.size)
        file[:] = content
        if hashlib.sha256(file[HASHED_FROM:].data).digest() != file[HASH].tobytes():
            raise ModelError(f"{path} is damaged: its hash is wrong")
        size = found.chirrup_memory_size(_address(file), ctypes.c_size_t(file.size))
        self.memory = aligned(size)
        self.handle = (ctypes.c_uint8 * HANDLE_BYTES)()
        code = found.chirrup_open(
            self.handle, _address(file), ctypes.c_size_t(file.size), _address(self.memory)
        )
        if size == 0 or code:
            raise ModelError(f"{path} is damaged: {found.chirrup_error(code).decode()}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (self.path,)


class NativeEngine:
    """An `engine.Engine` that runs a part of a program.

    Args:
        part: "encoder" or "decoder".
        frame: samples of a frame, of the input of an encoder or the output of a decoder.
        codebooks: codes of a frame.
    """

    def __init__(self, program: Program, part: str, frame: int, codebooks: int) -> None:
        self.program, self.part = program, PARTS.index(part)
        self.frame, self.codebooks = frame, codebooks
        self.floats = program.library.chirrup_state_size(program.handle, self.part) // 4

    def initial_state(self, batch: int = 1) -> np.ndarray:
        """Return the state before the first sample of ``batch`` streams."""
        return np.zeros((batch, self.floats), np.float32)

    def __call__(self, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the next frames of each stream; see `engine.Engine`."""
        encodes, batch = self.part == 0, len(x)
        frames = x.shape[2] // self.frame if encodes else x.shape[2]
        given = np.ascontiguousarray(x, np.float32 if encodes else np.int32)
        shape = (self.codebooks, frames) if encodes else (1, frames * self.frame)
        output = np.empty((batch, *shape), np.int32 if encodes else np.float32)
        after = np.empty_like(state)
        size = self.program.library.chirrup_scratch_size(self.program.handle, self.part)
        scratch, own = aligned(size), aligned(4 * self.floats).view(np.float32)
        for row in range(batch if frames else 0):
            own[:] = state[row]
            code = self.program.library.chirrup_run(
                self.program.handle,
                self.part,
                _address(given[row]),
                _address(output[row]),
                frames,
                _address(own),
                _address(scratch),
            )
            if code:
                why = self.program.library.chirrup_error(code).decode()
                raise ModelError(f"{self.program.path} cannot be run: {why}")
            after[row] = own
        if not frames:
            return output, state
        if not encodes and not np.isfinite(output).all():
            raise ModelError(f"{self.program.path} computes values that are not finite")
        return output, after

    @staticmethod
    def save(state: np.ndarray) -> dict[str, np.ndarray]:
        """Return a state as arrays."""
        return {"native": state.copy()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the state that `save` converted to arrays."""
        return np.ascontiguousarray(saved["native"], np.float32).copy()


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
