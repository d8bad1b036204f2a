"""Reading and writing of model folders: graphs, weights, program and ``model.json``.

- ``*.onnx``: graphs without weights.
- ``model.safetensors``: the weights of all graphs, each tensor once. A tensor is stored as float16
  or as 8 bits with a scale per row (`rounded`) if this is exact, else as float32.
- ``model.chirp``: the program of the native engine, which contains its weights.
- ``model.json``: sample rates, states, bitrates, audit, the location of each graph's weights, and
  the SHA-256 of the weights, of each graph and of the program.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from safetensors.numpy import save

from chirrup.errors import ModelError
from chirrup.files.drafts import open_scratch, writing_into
from chirrup.model_json import check_files, read_spec
from chirrup.runtime.dft import identify_dft
from chirrup.runtime.graph import Weights
from chirrup.runtime.graph_file import WEIGHTS, graph_content
from chirrup.runtime.native import PROGRAM
from chirrup.saving import replaced_files

SMALLEST = 64
"""Tensors with fewer elements stay in the graph."""


def write(
    folder: Path,
    graphs: Iterable[tuple[str, onnx.ModelProto]],
    description: dict[str, Any],
    check: Callable[[Path], dict[str, Any]],
    program: bytes | None = None,
) -> dict[str, Any]:
    """Write a model folder. If anything fails, nothing is written.

    Args:
        graphs: names and graphs with weights. The weights are removed from each graph before the
            next one is asked for.
        description: content of ``model.json`` apart from weights and hashes.
        check: called with a draft of the folder; raises an exception if the draft is not valid.
            The returned dictionary is added to ``model.json``.
        program: the program of the native engine, if the model has one.

    Returns:
        The content of ``model.json``.
    """
    weights: dict[str, np.ndarray] = {}
    places: dict[str, dict[str, dict[str, Any]]] = {}
    contents: dict[str, bytes] = {}
    for part, graph in graphs:
        places[part] = move_weights(graph, weights)
        contents[part] = graph.SerializeToString()
        del graph
    content = save(weights)
    weights.clear()
    sha256 = hashlib.sha256(content).hexdigest()
    about = description | {
        "weights": places,
        "weights_sha256": sha256,
        "graphs_sha256": {part: hashlib.sha256(x).hexdigest() for part, x in contents.items()},
    }
    if program is not None:
        about["program_sha256"] = hashlib.sha256(program).hexdigest()
    with open_scratch(folder) as draft, writing_into(folder):
        (draft / WEIGHTS).write_bytes(content)  # save_file would restrict reading to the owner
        del content
        for part, graph in contents.items():
            (draft / f"{part}.onnx").write_bytes(graph)
        if program is not None:
            (draft / PROGRAM).write_bytes(program)
        (draft / "model.json").write_text(json.dumps(about, indent=1) + "\n")
        about |= check(draft)
        (draft / "model.json").write_text(json.dumps(about, indent=1) + "\n")
        folder.mkdir(parents=True, exist_ok=True)
        made = {path.name for path in draft.iterdir()}
        for name in replaced_files(folder) - made:
            (folder / name).unlink(missing_ok=True)
        for name in sorted(made, key=lambda name: name == "model.json"):  # last
            (draft / name).replace(folder / name)
    return about


def read(folder: Path) -> tuple[dict[str, onnx.ModelProto], dict[str, Any]]:
    """Read a model folder.

    Returns:
        The graphs with their weights, and the content of ``model.json``.

    Raises:
        ModelError: the folder is damaged.
    """
    spec, about = read_spec(folder)
    check_files(folder, spec, "onnx")
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


def constants_of(graph: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the constants of a graph by name."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


def move_weights(
    graph: onnx.ModelProto, weights: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Move the large tensors of a graph to ``weights``, each once.

    Tensors with equal content are stored once, also if their shapes differ or their last two axes
    are swapped.

    Returns:
        The location of each tensor of the graph: ``tensor``, its name in ``weights``, ``shape``,
        and ``swapped``, whether it is stored with the last two axes swapped. A DFT matrix, which
        `runtime.dft` computes, has ``waves`` and ``n_fft`` instead.
    """
    places: dict[str, dict[str, Any]] = {}
    for tensor in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.size < SMALLEST:
            continue
        if array.dtype == np.float32:
            array = array + 0.0  # -0.0 becomes 0.0, as it does in 8 bits
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
    """Replace the content of a graph's tensor, ``size`` bytes, by a reference to external data."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def store(weights: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    """Store an array with as few bits as are exact; `runtime.graph.Weights` reads it."""
    if array.dtype != np.float32:
        weights[name] = array.ravel()
        return
    with np.errstate(over="ignore"):  # float16 overflow gives infinity, which is not exact
        half = array.astype(np.float16)
    if (rows := rows_of(array)) is not None:
        weights[name], weights[f"{name}.scale"] = rows
    elif np.array_equal(half.astype(np.float32), array):
        weights[name] = half.ravel()
    else:
        weights[name] = array.ravel()


def rounded(array: np.ndarray) -> np.ndarray:
    """Round an array to 8-bit integers times a scale per row, returned as ``float32``.

    A row is an index of the first axis. A scale has 12 significant bits, so the products are exact
    in float32 and `rows_of` recovers both factors.
    """
    rows = array.reshape(len(array), -1)
    mantissa, exponent = np.frexp(np.abs(rows).max(axis=1, keepdims=True) / 127)
    scale = np.ldexp(np.ceil(mantissa * 2**12) / 2**12, exponent)
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return (np.round(rows / scale) * scale).astype(np.float32).reshape(array.shape)


def rows_of(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor an array that `rounded` has returned into integers and scales.

    Returns:
        ``int8`` values and ``float32 [rows]`` scales whose product is exactly the array, or None.
        The rows run along the first axis, or along all axes but the last.
    """
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
    """Return a name for the content of an array, independent of its shape."""
    return hashlib.sha256(str(array.dtype).encode() + array.tobytes()).hexdigest()[:16]
