"""The vectors of the codes in a program of the native engine, which returns only audio.

A decoder begins with a lookup of the entries of all codebooks, and a product that projects them and
adds a bias for each code that is present. docs/reference/program.md specifies the file.
"""

import struct
from pathlib import Path

import numpy as np

from chirrup.errors import ModelError
from chirrup.runtime.native import (
    ALIGNMENT,
    FIRST_NUMBER,
    decoder_operations,
    lookup_of,
    read_program,
)

CONV = 0
"""Kind of a convolution."""
FIRST_WEIGHT = 20
"""Place of the first weight of an operation."""
EXACT = 9
"""Number of a convolution that is 1 if the inputs of its int8 weights are exact."""
LANES = 16
"""Weights of a unit."""


def program_vectors(path: Path, sha256: str) -> np.ndarray:
    """Return the vectors of the codes, ``float32 [codebooks, codebook_size, dimension]``.

    Args:
        path: a program file that the engine has opened.
        sha256: SHA-256 of the file in hexadecimal.

    Raises:
        ModelError: the file was changed, or its decoder does not begin with a lookup of codes.
    """
    content, _ = read_program(path, sha256)
    try:
        return _vectors(content)
    except (ValueError, IndexError, struct.error) as error:
        raise ModelError(f"{path} has no vectors of codes: {error}") from error


def _vectors(content: bytes) -> np.ndarray:
    table = decoder_operations(content)
    lookup = lookup_of(table)
    if lookup is None:
        raise ValueError("its decoder looks up no codes")
    product = next((row for row in table if row[0] == CONV and row[1] == lookup[2]), None)
    levels, dim, size = lookup[FIRST_NUMBER : FIRST_NUMBER + 3].tolist()
    inputs = levels * (dim + 1)
    shape = [] if product is None else product[FIRST_NUMBER : FIRST_NUMBER + 7].tolist()
    if product is None or shape[0] != 1 or shape[3] != 1 or shape[4] != inputs:
        raise ValueError("its decoder does not project them by one product")
    entries = _weights(content, lookup[FIRST_WEIGHT], levels * size * dim).astype(np.float32)
    matrix = _matrix(content, product, inputs, shape[6])[:, : shape[5]]
    project = matrix[: levels * dim].reshape(levels, dim, -1)
    return entries.reshape(levels, size, dim) @ project + matrix[levels * dim :, None]


def _matrix(content: bytes, product: np.ndarray, inputs: int, lanes: int) -> np.ndarray:
    """Return the matrix of a product as ``float32 [inputs, lanes]``."""
    whole = -(-inputs // 4) * 4
    stored = _weights(content, product[FIRST_WEIGHT], whole * lanes)
    if stored.dtype != np.int8:
        return stored[: inputs * lanes].reshape(inputs, lanes).astype(np.float32)
    scales = _weights(content, product[FIRST_WEIGHT + 4], lanes).astype(np.float32)
    if not product[FIRST_NUMBER + EXACT]:
        stored = stored.reshape(-1, lanes, 4).transpose(0, 2, 1).ravel()
    return stored[: inputs * lanes].reshape(inputs, lanes) * scales


def _weights(content: bytes, unit: int, count: int) -> np.ndarray:
    """Return at most ``count`` weights from a unit on, in the type in which they are stored."""
    exact, half, exact_at, half_at = struct.unpack_from("<4I", content, 16)
    bytes_, bytes_at = struct.unpack_from("<2I", content, 40)
    at = int(unit)
    for kind, units, place in (
        ("<f4", exact, exact_at),
        ("<f2", half, half_at),
        ("i1", bytes_, bytes_at),
    ):
        if at < units:
            width = np.dtype(kind).itemsize
            offset = ALIGNMENT * place + at * LANES * width
            return np.frombuffer(content, kind, min(count, (units - at) * LANES), offset)
        at -= units
    raise ValueError("a weight lies outside the file")
