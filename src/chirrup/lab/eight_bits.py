"""Weights of 8 bits in exported graphs: less to read, where that is what takes the time.

Every 32 weights of a matrix product share a scale; the runtime brings its input to 8 bits in the
same blocks. Convolutions, and products so small that reading them takes nothing, stay as they are,
the last of an encoder among them, whose signs or nearest entries are the codes.
"""

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

BLOCK = 32
SMALLEST = 1 << 15
"""Products with fewer weights stay."""
INTEGERS = 4
"""ONNX Runtime's ``accuracy_level`` for products of integers, its fast one."""


def with_eight_bits(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the weights of its matrix products in 8 bits."""
    sizes = {tensor.name: tensor.dims for tensor in graph.graph.initializer}
    small = [
        node.name
        for node in graph.graph.node
        if node.op_type == "MatMul"
        and (len(dims := sizes.get(node.input[1], ())) != 2 or dims[0] * dims[1] < SMALLEST)
    ]
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INTEGERS, bits=8
    )
    quantizer = MatMulNBitsQuantizer(graph, nodes_to_exclude=small, algo_config=config)
    quantizer.process()
    return quantizer.model.model  # pyright: ignore[reportAttributeAccessIssue]
