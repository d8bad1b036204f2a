"""Matrix products with 8-bit weights that give the results of floating point.

A live frame of a large model reads every weight for a few steps of input, so the frame takes the
time of reading the weights. If the weights are rounded to 8 bits (`model_folder.rounded`), ONNX
Runtime's MatMulNBits reads them as bytes. It also rounds its input to 8 bits, which would change
the codes. The input is therefore split into two terms, the rounded input and the rest, and one call
multiplies both. The error that remains is the rounding error of the rest, at most 2 to the power of
-16 of the largest value of a block.
"""

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx.helper import make_node, make_opsetid
from onnx.numpy_helper import from_array, to_array

from chirrup.lab.export.model_folder import rows_of

LARGE = 1 << 20
"""Products with fewer weights stay in floating point, because a cache holds their weights."""
BLOCKS = (128, 64, 32)
"""Possible numbers of inputs that share a scale. The first one that divides the input is used."""
ZERO = 128
"""The byte of the weight 0."""
INTEGERS = 4
"""ONNX Runtime's ``accuracy_level`` for integer products, the fastest one."""
DOMAIN = "com.microsoft"
CONSTANTS = {
    "terms.axis": np.array([1]),
    "terms.step": np.float32(1 / 127),
    "terms.least": np.finfo(np.float32).tiny,
}


def large_products(graph: onnx.ModelProto) -> dict[str, int]:
    """Return the block size of each large matrix that is the right factor of a product, by name."""
    factors = {node.input[1] for node in graph.graph.node if node.op_type == "MatMul"}
    found: dict[str, int] = {}
    for tensor in graph.graph.initializer:
        if tensor.name in factors and len(tensor.dims) == 2 and prod(tensor.dims) >= LARGE:
            sizes = [size for size in BLOCKS if tensor.dims[0] % size == 0]
            if sizes:
                found[tensor.name] = sizes[0]
    return found


def integer_products(graph: onnx.ModelProto) -> None:
    """Replace large products by integer products, in place, where the weights are 8 bits.

    The weights of an output must be integers from -127 to 127 times a scale.
    """
    bytes_of: dict[str, list[onnx.TensorProto]] = {}
    blocks = large_products(graph)
    for tensor in graph.graph.initializer:
        if tensor.name in blocks:
            rows = rows_of(np.ascontiguousarray(to_array(tensor).T))
            if rows is not None and len(rows[1]) == tensor.dims[1]:
                bytes_of[tensor.name] = byte_weights(tensor.name, *rows, blocks[tensor.name])
    if not bytes_of:
        return
    nodes: list[onnx.NodeProto] = []
    split: set[str] = set()
    for node in graph.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in bytes_of:
            nodes.append(node)
            continue
        x, weight = node.input
        block = blocks[weight]
        terms = f"{x}.terms-{block}"
        if terms not in split:
            split.add(terms)
            nodes += two_terms(x, terms, block)
        nodes += product(node, terms, *bytes_of[weight])
    used = {name for node in nodes for name in node.input}
    own = [x for x in graph.graph.initializer if x.name in used or x.name not in bytes_of]
    made = [tensor for parts in bytes_of.values() for tensor in parts]
    constants = [from_array(np.asarray(value), name) for name, value in CONSTANTS.items()]
    constants += [
        from_array(np.array([-1, block]), f"terms.{block}") for block in set(blocks.values())
    ]
    changed = [*own, *made, *constants]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(changed)
    if DOMAIN not in {known.domain for known in graph.opset_import}:
        graph.opset_import.append(make_opsetid(DOMAIN, 1))


def byte_weights(
    name: str, levels: np.ndarray, scales: np.ndarray, block: int
) -> list[onnx.TensorProto]:
    """Return weights and scales in the form of MatMulNBits.

    Args:
        name: name of the matrix.
        levels: ``int8 [outputs * inputs]``.
        scales: ``float32 [outputs]``.
        block: number of inputs that share a scale.
    """
    count = len(levels) // len(scales) // block
    shifted = (levels.astype(np.int16) + ZERO).astype(np.uint8)
    return [
        from_array(shifted.reshape(len(scales), count, block), f"{name}.levels"),
        from_array(np.repeat(scales, count), f"{name}.scales"),
    ]


def product(
    node: onnx.NodeProto, terms: str, levels: onnx.TensorProto, scales: onnx.TensorProto
) -> list[onnx.NodeProto]:
    """Return nodes that multiply both terms and add the two products to the output of ``node``."""
    outputs, count, block = levels.dims
    both, parts = f"{node.name}.both", [f"{node.name}.rounded", f"{node.name}.rest"]
    return [
        make_node(
            "MatMulNBits",
            [terms, levels.name, scales.name],
            [both],
            both,
            domain=DOMAIN,
            K=count * block,
            N=outputs,
            bits=8,
            block_size=block,
            accuracy_level=INTEGERS,
        ),
        make_node("Split", [both], parts, f"{node.name}.split", axis=0, num_outputs=2),
        make_node("Add", parts, node.output, node.name),
    ]


def two_terms(x: str, terms: str, block: int) -> list[onnx.NodeProto]:
    """Return nodes that split ``x`` into its rounded values and the rest, along the first axis.

    The values are rounded as MatMulNBits rounds them, which therefore keeps the first term.
    """

    def node(kind: str, inputs: list[str], output: str, **options: Any) -> onnx.NodeProto:
        return make_node(kind, inputs, [output], output, **options)

    t = terms
    return [
        node("Shape", [x], f"{t}.shape"),
        node("Reshape", [x, f"terms.{block}"], f"{t}.blocks"),
        node("Abs", [f"{t}.blocks"], f"{t}.sizes"),
        node("ReduceMax", [f"{t}.sizes", "terms.axis"], f"{t}.largest", keepdims=1),
        node("Mul", [f"{t}.largest", "terms.step"], f"{t}.steps"),
        node("Max", [f"{t}.steps", "terms.least"], f"{t}.scales"),
        node("Div", [f"{t}.blocks", f"{t}.scales"], f"{t}.scaled"),
        node("Round", [f"{t}.scaled"], f"{t}.integers"),
        node("Mul", [f"{t}.integers", f"{t}.scales"], f"{t}.flat"),
        node("Reshape", [f"{t}.flat", f"{t}.shape"], f"{t}.rounded"),
        node("Sub", [x, f"{t}.rounded"], f"{t}.rest"),
        node("Concat", [f"{t}.rounded", f"{t}.rest"], t, axis=0),
    ]
