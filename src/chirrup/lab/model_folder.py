"""A model's folder: graphs, each of its weights once, and ``model.json``.

- ``*.onnx``: graphs without weights.
- ``model.safetensors``: the weights of all of them, each tensor once, float16 where that is exact.
- ``model.json``: rates, states, bitrates, audit, where each graph's weights are, and their hash.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save

from chirrup.runtime.graph import Weights

WEIGHTS = "model.safetensors"
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
    about = description | {"weights": places, "weights_sha256": sha256}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        draft = Path(temporary)
        (draft / WEIGHTS).write_bytes(content)  # save_file would make it readable to its owner only
        for part, graph in graphs.items():
            (draft / f"{part}.onnx").write_bytes(graph.SerializeToString())
        (draft / "model.json").write_text(json.dumps(about, indent=1) + "\n")
        about |= check(draft)
        (draft / "model.json").write_text(json.dumps(about, indent=1) + "\n")
        folder.mkdir(parents=True, exist_ok=True)
        for path in draft.iterdir():
            path.replace(folder / path.name)
    return about


def read(folder: Path) -> tuple[dict[str, onnx.ModelProto], dict[str, Any]]:
    """Graphs with their weights in them again, and what ``model.json`` says."""
    about = json.loads((folder / "model.json").read_text())
    stored = Weights(folder / WEIGHTS, about["weights"])
    graphs = {}
    for part in about["weights"]:
        graph = onnx.load(folder / f"{part}.onnx", load_external_data=False)
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
        ``swapped``, whether it is stored with the last two axes swapped.
    """
    places: dict[str, dict[str, Any]] = {}
    for tensor in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.size < SMALLEST:
            continue
        swapped = np.swapaxes(array, -1, -2) if array.ndim > 1 else array
        name, other = digest(array), digest(swapped)
        is_swapped = name not in weights and other in weights
        if name not in weights and not is_swapped:
            half = array.astype(np.float16)
            exact = array.dtype == np.float32 and np.array_equal(half.astype(np.float32), array)
            weights[name] = (half if exact else array).ravel()
        places[tensor.name] = {
            "tensor": other if is_swapped else name,
            "shape": list(array.shape),
            "swapped": is_swapped,
        }
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
    del graph.graph.value_info[:]
    graph.metadata_props.clear()
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return places


def digest(array: np.ndarray) -> str:
    """A name for the content of an array, whatever its shape."""
    return hashlib.sha256(str(array.dtype).encode() + array.tobytes()).hexdigest()[:16]
