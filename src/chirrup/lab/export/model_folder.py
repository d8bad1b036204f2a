"""A model's folder: graphs, each of its weights once, and ``model.json``.

- ``*.onnx``: graphs without weights.
- ``model.safetensors``: the weights of all of them, each tensor once, float16 where that is exact,
  or 8 bits with a scale for each row (`rounded`).
- ``model.json``: rates, states, bitrates, audit, where each graph's weights are, and the hashes of
  the weights and of each graph.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from safetensors.numpy import save

from chirrup.errors import ModelError
from chirrup.files.drafts import open_scratch
from chirrup.model_json import read_spec
from chirrup.runtime.dft import identify_dft
from chirrup.runtime.graph import Weights
from chirrup.runtime.graph_file import WEIGHTS, graph_content

SMALLEST = 64
"""Tensors of fewer elements stay in the graph."""


def write(
    folder: Path,
    graphs: Mapping[str, onnx.ModelProto],
    description: dict[str, Any],
    check: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """Write a whole folder, or nothing; what its ``model.json`` then says.

    Args:
        graphs: with their weights, which they lose.
        description: for ``model.json``.
        check: gets a draft of the folder, and raises something if it is not good; what it returns
            goes into ``model.json`` too.
    """
    weights: dict[str, np.ndarray] = {}
    places = {part: move_weights(graph, weights) for part, graph in graphs.items()}
    content = save(weights)
    sha256 = hashlib.sha256(content).hexdigest()
    contents = {part: graph.SerializeToString() for part, graph in graphs.items()}
    about = description | {
        "weights": places,
        "weights_sha256": sha256,
        "graphs_sha256": {part: hashlib.sha256(x).hexdigest() for part, x in contents.items()},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open_scratch(folder) as draft:
        (draft / WEIGHTS).write_bytes(content)  # save_file would make it readable to its owner only
        for part, graph in contents.items():
            (draft / f"{part}.onnx").write_bytes(graph)
        (draft / "model.json").write_text(json.dumps(about, indent=1) + "\n")
        about |= check(draft)
        (draft / "model.json").write_text(json.dumps(about, indent=1) + "\n")
        folder.mkdir(parents=True, exist_ok=True)
        for path in draft.iterdir():
            path.replace(folder / path.name)
    return about


def read(folder: Path) -> tuple[dict[str, onnx.ModelProto], dict[str, Any]]:
    """Graphs with their weights in them again, and what ``model.json`` says.

    Raises:
        ModelError: the folder is damaged.
    """
    spec, about = read_spec(folder)
    stored = Weights(folder / WEIGHTS, spec.weights)
    graphs = {}
    for part in spec.weights:
        content = graph_content(folder / f"{part}.onnx", spec.graphs_sha256.get(part))
        try:
            graph = onnx.load_model_from_string(content)
        except DecodeError as error:
            raise ModelError(f"{folder / part}.onnx is damaged: {error}") from error
        values = stored.of(part)
        for tensor in graph.graph.initializer:
            if tensor.name in values:
                whole = onnx.numpy_helper.from_array(values[tensor.name].numpy(), tensor.name)
                tensor.CopyFrom(whole)
        graphs[part] = graph
    return graphs, about


def move_weights(
    graph: onnx.ModelProto, weights: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Take the large tensors out of a graph into ``weights``, where each stands once.

    Two tensors of the same content in another shape, or with the last two axes swapped, are one.

    Returns:
        For each tensor of the graph: ``tensor``, its name in ``weights``, ``shape``, and
        ``swapped``, whether it is stored with the last two axes swapped; or ``waves`` and
        ``n_fft`` of one that `runtime.dft` makes.
    """
    places: dict[str, dict[str, Any]] = {}
    for tensor in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.size < SMALLEST:
            continue
        leave_empty(tensor, array.nbytes)
        if (known := identify_dft(array)) is not None:
            kind, n_fft = known
            places[tensor.name] = {"waves": kind, "n_fft": n_fft}
            continue
        swapped = np.swapaxes(array, -1, -2) if array.ndim > 1 else array
        name, other = digest(array), digest(swapped)
        is_new = {name, other}.isdisjoint(weights)
        by_columns = is_new and rows_of(array) is None and rows_of(swapped) is not None
        is_swapped = by_columns or (other in weights and name not in weights)
        if is_new:
            store(weights, other if is_swapped else name, swapped if is_swapped else array)
        places[tensor.name] = {
            "tensor": other if is_swapped else name,
            "shape": list(array.shape),
            "swapped": is_swapped,
        }
    del graph.graph.value_info[:]
    graph.metadata_props.clear()
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return places


def leave_empty(tensor: onnx.TensorProto, size: int) -> None:
    """Take the content, ``size`` bytes, out of a graph's tensor: it comes from elsewhere."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def store(weights: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    """In as few bits as are exact; `runtime.graph.Weights` reads it."""
    if array.dtype != np.float32:
        weights[name] = array.ravel()
        return
    with np.errstate(over="ignore"):  # to infinity, which is not exact
        half = array.astype(np.float16)
    if (rows := rows_of(array)) is not None:
        weights[name], weights[f"{name}.scale"] = rows
    elif np.array_equal(half.astype(np.float32), array):
        weights[name] = half.ravel()
    else:
        weights[name] = array.ravel()


def rounded(array: np.ndarray) -> np.ndarray:
    """``float32`` of 8 bits and a scale for each row, which is one index of the first axis.

    A scale has 12 bits, so that no product is rounded and `rows_of` finds them again.
    """
    rows = array.reshape(len(array), -1)
    mantissa, exponent = np.frexp(np.abs(rows).max(axis=1, keepdims=True) / 127)
    scale = np.ldexp(np.ceil(mantissa * 2**12) / 2**12, exponent)
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return (np.round(rows / scale) * scale).astype(np.float32).reshape(array.shape)


def rows_of(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """What `rounded` has made: ``int8`` and ``float32 [rows]`` whose product is exactly the array,
    in rows along the first axis or all but the last; else None."""
    if array.dtype != np.float32 or array.ndim < 2:
        return None
    for count in {len(array), array.size // array.shape[-1]}:
        rows = array.reshape(count, -1)
        scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
        scale = np.where(scale > 0, scale, np.float32(1))
        levels = np.round(rows / scale)
        if rows.shape[1] > 1 and np.array_equal(levels * scale, rows):
            return levels.astype(np.int8).ravel(), scale[:, 0]
    return None


def digest(array: np.ndarray) -> str:
    """A name for the content of an array, whatever its shape."""
    return hashlib.sha256(str(array.dtype).encode() + array.tobytes()).hexdigest()[:16]
