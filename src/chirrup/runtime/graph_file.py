"""Reading of graph files, with a check of the hash and of the references to other files.

An ONNX graph may name any file as the place of a tensor's content, and ONNX Runtime before version
1.24 reads every such file. This module therefore checks the names.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from chirrup.errors import ModelError
from chirrup.runtime.reading import read_bytes

MOST_BYTES = 1 << 21
"""Largest size of a graph file, which holds no weights. Shipped graphs have 20 to 130 KB."""
WEIGHTS = "model.safetensors"
"""The only file to which a graph may refer."""

Schema = dict[str, dict[int, str]]
_MESSAGES: Schema = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "External"},
}
"""Fields of onnx.proto that lead to a tensor, by message and field number."""
_DEEPEST = 64
"""Most levels of nested messages. A graph in a node of a graph adds three."""


def graph_content(path: Path, sha256: str | None = None) -> bytes:
    """Read a graph file.

    Args:
        path: the graph file.
        sha256: expected SHA-256 in hexadecimal. None skips the check.

    Raises:
        ModelError: the file cannot be read, has another hash, is not an ONNX graph, or refers to a
            file other than ``model.safetensors``.
    """
    content = read_bytes(path, MOST_BYTES)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is damaged: its hash is wrong")
    try:
        for location in locations(memoryview(content)):
            if location != WEIGHTS.encode():
                raise ModelError(
                    f"{path} reads {location.decode(errors='replace')!r}; a graph may read "
                    f"{WEIGHTS} only"
                )
    except IndexError as error:
        raise ModelError(f"{path} is damaged: it is not an ONNX graph") from error
    return content


def locations(data: memoryview, message: str = "Model", depth: int = 0) -> Iterator[bytes]:
    """Yield the names of all files to which a serialised message refers.

    Raises:
        IndexError: the bytes are not such a message.
    """
    if depth > _DEEPEST:
        raise IndexError("too deep")
    if message == "External":
        entry = list(_fields(data))
        if any(number == 1 and bytes(value) == b"location" for number, value in entry):
            yield from (bytes(value) for number, value in entry if number == 2)
        return
    inner = _MESSAGES[message]
    for number, value in _fields(data):
        if number in inner:
            yield from locations(value, inner[number], depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the bytes of each field of variable length."""
    at, size = 0, len(data)
    while at < size:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 2:
            length, at = _varint(data, at)
            if length > size - at:
                raise IndexError("a field ends beyond its message")
            yield key >> 3, data[at : at + length]
            at += length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise IndexError("not a field")
    if at > size:
        raise IndexError("a field ends beyond its message")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read an integer with 7 bits in each byte; return it and the position after it."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise IndexError("an integer of more than 64 bits")
