"""Variants of an exported model with 8-bit weights, for speed (`export_int8`) or for size.

`export_int8` is for models whose time is spent on reading weights. Every 32 weights of a matrix
product share a scale, and the runtime quantizes the product's input in equal blocks. These parts
stay in floating point:

- convolutions and grouped products;
- Fourier transforms (`nn/stft.py`), because an error would spread over all bins;
- products with few weights. The last product of an encoder, whose output becomes the codes, is one.

`export_int8_storage` stores 8-bit weights with a scale per row (`model_folder.rounded`). It
computes in floating point, except for large products (`integer_products`), whose results are the
same. Both also change the program of the native engine (`program_int8`).
"""

import logging
from collections.abc import Collection
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from chirrup.lab.export.integer_products import integer_products, large_products
from chirrup.lab.export.model_folder import digest, read, rounded, rows_of
from chirrup.lab.export.parity import Parity
from chirrup.lab.export.program_int8 import int8_decoder, int8_storage
from chirrup.lab.export.variant import read_program, write_variant

BLOCK = 32
"""Number of weights that share a scale."""
SMALLEST = 1 << 15
"""Products with fewer weights stay in floating point."""
CODEBOOKS = ("search.", "lookup.")
"""Prefixes of the names of codebook tensors."""
INTEGERS = 4
"""ONNX Runtime's ``accuracy_level`` for integer products, the fastest one."""
LEAST_EQUAL = 0.98
"""Least share of equal codes for `export_int8`."""
LEAST_EQUAL_STORED = 0.95
"""Least share of equal codes for `export_int8_storage`."""


def export_int8(source: Path, folder: Path, parts: Collection[str], audio: np.ndarray) -> Parity:
    """Write a variant of an exported model with 8-bit weights in its matrix products.

    The codes are compatible: each of the two models decodes files of the other.

    Args:
        source: folder of the exported model.
        folder: folder to write.
        parts: the parts that get 8-bit weights: "encoder", "decoder" or both.
        audio: a few seconds of real signal to compare both models on; see `export.export`.

    Returns:
        The agreement of the two models.

    Raises:
        ValueError: the two models differ too much; nothing is written.
    """
    graphs, about = read(source)
    for part, graph in graphs.items():
        if ("encoder" if part.startswith("encoder") else "decoder") in parts:
            graphs[part] = int8_products(graph)
    about |= {"eight_bits": sorted(parts)}
    program = read_program(source, about)
    if program is not None and "decoder" in parts:
        program = int8_decoder(program)
    return write_variant(source, folder, graphs, about, audio, program, LEAST_EQUAL)


def export_int8_storage(source: Path, folder: Path, audio: np.ndarray) -> Parity:
    """Write a variant of an exported model that needs half the bytes.

    Arguments, result and errors are like in `export_int8`.
    """
    graphs, about = read(source)
    done: dict[str, np.ndarray] = {}
    for graph in graphs.values():
        large = large_products(graph)
        for tensor in graph.graph.initializer:
            if is_rounded(tensor):
                array = onnx.numpy_helper.to_array(tensor)
                if tensor.name in large:  # a scale for each output
                    array = np.ascontiguousarray(round_shared(array.T, done).T)
                else:
                    array = round_shared(array, done)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        integer_products(graph)
    program = read_program(source, about)
    if program is not None:
        program = int8_storage(program, done.values())
    return write_variant(source, folder, graphs, about, audio, program, LEAST_EQUAL_STORED)


def is_rounded(tensor: onnx.TensorProto) -> bool:
    """Return whether a tensor is rounded: large, and neither a DFT matrix nor a codebook."""
    large = len(tensor.dims) > 1 and prod(tensor.dims) >= SMALLEST
    kept = tensor.name.endswith(("cosines", "sines")) or tensor.name.startswith(CODEBOOKS)
    return large and not kept and tensor.data_type == onnx.TensorProto.FLOAT


def round_shared(array: np.ndarray, done: dict[str, np.ndarray]) -> np.ndarray:
    """Round a tensor equally in all graphs that share it, also with its last two axes swapped.

    A tensor that is rounded already, along either axis, stays as it is.

    Args:
        done: rounded tensors by the digest of the original; it is extended.
    """
    swapped = np.swapaxes(array, -1, -2)
    if rows_of(array) is not None or rows_of(swapped) is not None:
        return array
    if digest(swapped) in done:
        return np.swapaxes(done[digest(swapped)].reshape(swapped.shape), -1, -2)
    return done.setdefault(digest(array), rounded(array)).reshape(array.shape)


def int8_products(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with 8-bit weights in its matrix products."""
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
    """Replace every Gemm ``x @ w + b`` by a MatMul and an Add, in place."""
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
