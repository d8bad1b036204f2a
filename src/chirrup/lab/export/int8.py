"""Exported models once more with weights of 8 bits: to read less, where that is what takes the
time, or to store less.

To read less, every 32 weights of a matrix product share a scale; the runtime brings its input to 8
bits in the same blocks. Convolutions, products in groups, Fourier transforms (`nn/stft.py`),
whose errors all bins would share, and products so small that reading them takes nothing, stay as
they are, the last of an encoder among them, whose signs or nearest entries are the codes.

To store less, every row of a matrix or kernel has a scale (`model_folder.rounded`), and all is
computed as before.
"""

import logging
from collections.abc import Collection
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

import chirrup
from chirrup.lab.export.model_folder import digest, read, rounded, write
from chirrup.lab.export.parity import Parity, measure, stream, whole_chunks

BLOCK = 32
SMALLEST = 1 << 15
"""Products with fewer weights stay."""
CODEBOOKS = ("search.", "lookup.")
"""What the names of their tensors begin with."""
INTEGERS = 4
"""ONNX Runtime's ``accuracy_level`` for products of integers, its fast one."""
LEAST_EQUAL, MOST_DB = 0.98, -20
"""Share of the codes, and error of the audio, that are near enough."""
LEAST_EQUAL_STORED = 0.95
"""Likewise where every weight is rounded."""


def export_int8(source: Path, folder: Path, parts: Collection[str], audio: np.ndarray) -> Parity:
    """Write an exported model once more. Its codes mean the same: either decodes the other's files.

    Args:
        source: its folder.
        parts: "encoder", "decoder" or both: whose matrix products get weights of 8 bits.
        audio: a few seconds to compare both on, as `export.export` has it.

    Raises:
        ValueError: the result would be too far from the model (nothing is written).
    """
    graphs, about = read(source)
    for part, graph in graphs.items():
        if ("encoder" if part.startswith("encoder") else "decoder") in parts:
            graphs[part] = int8_products(graph)
    about |= {"eight_bits": sorted(parts)}
    return write_variant(source, folder, graphs, about, audio, LEAST_EQUAL)


def export_int8_storage(source: Path, folder: Path, audio: np.ndarray) -> Parity:
    """Write an exported model once more, in half the bytes; else as `export_int8`."""
    graphs, about = read(source)
    done: dict[str, np.ndarray] = {}
    for graph in graphs.values():
        for tensor in graph.graph.initializer:
            if is_rounded(tensor):
                array = round_shared(onnx.numpy_helper.to_array(tensor), done)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return write_variant(source, folder, graphs, about, audio, LEAST_EQUAL_STORED)


def is_rounded(tensor: onnx.TensorProto) -> bool:
    """Whether it is a large matrix or kernel, and neither a Fourier transform nor a codebook."""
    large = len(tensor.dims) > 1 and prod(tensor.dims) >= SMALLEST
    kept = tensor.name.endswith(("cosines", "sines")) or tensor.name.startswith(CODEBOOKS)
    return large and not kept and tensor.data_type == onnx.TensorProto.FLOAT


def round_shared(array: np.ndarray, done: dict[str, np.ndarray]) -> np.ndarray:
    """`rounded`, alike for all graphs that share a tensor; one may have its last axes swapped."""
    swapped = np.swapaxes(array, -1, -2)
    if digest(swapped) in done:
        return np.swapaxes(done[digest(swapped)].reshape(swapped.shape), -1, -2)
    return done.setdefault(digest(array), rounded(array)).reshape(array.shape)


def write_variant(
    source: Path,
    folder: Path,
    graphs: dict[str, onnx.ModelProto],
    about: dict[str, Any],
    audio: np.ndarray,
    least_equal: float,
) -> Parity:
    """Write changed graphs of ``source``, whose files they are to read."""
    codec = chirrup.load(source)
    signal, (encoder, decoder) = whole_chunks(codec, audio), codec.graphs()
    codes = stream(encoder, signal, codec.block_frames * codec.input_frame_samples)
    expected = stream(decoder, codes, codec.block_frames)

    def check(draft: Path) -> dict[str, Any]:
        parity = measure(chirrup.load(draft), signal, codes, expected)
        parity.check(least_equal, MOST_DB)
        return {"parity": asdict(parity)}

    about |= {"codes_sha256": codec.codes_sha256}
    return Parity(**write(folder, graphs, about, check)["parity"])


def int8_products(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the weights of its matrix products in 8 bits."""
    split_products(graph)
    sizes = {tensor.name: tensor.dims for tensor in graph.graph.initializer}
    small = [
        node.name
        for node in graph.graph.node
        if node.op_type == "MatMul"
        and (
            len(dims := sizes.get(node.input[1], ())) != 2
            or dims[0] * dims[1] < SMALLEST
            or node.input[1].endswith(("cosines", "sines"))
        )
    ]
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INTEGERS, bits=8
    )
    logging.getLogger(MatMulNBitsQuantizer.__module__).setLevel(logging.WARNING)
    quantizer = MatMulNBitsQuantizer(graph, nodes_to_exclude=small, algo_config=config)
    quantizer.process()
    return quantizer.model.model  # pyright: ignore[reportAttributeAccessIssue]


def split_products(graph: onnx.ModelProto) -> None:
    """Make every Gemm ``x @ w + b`` a product and a sum, in place."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        factors = {
            option.name: onnx.helper.get_attribute_value(option) for option in node.attribute
        }
        turned = factors.get("transA") or factors.get("transB")
        scaled = (factors.get("alpha", 1), factors.get("beta", 1)) != (1, 1)
        if node.op_type != "Gemm" or len(node.input) < 3 or turned or scaled:
            nodes.append(node)
            continue
        x, weight, bias = node.input
        product = f"{node.name}.product"
        nodes.append(onnx.helper.make_node("MatMul", [x, weight], [product], product))
        nodes.append(onnx.helper.make_node("Add", [product, bias], node.output, node.name))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
