"""Weights of 8 bits: what becomes small, how far off it is, how it is stored and loaded."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from chirrup.lab.eight_bits import with_eight_bits
from chirrup.lab.export import Parity, move_weights, to_onnx
from chirrup.runtime.graph import Weights

DIM = 256


class Net(nn.Module):
    """Two large products and a small one."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.contract = nn.Linear(DIM, 3 * DIM), nn.Linear(3 * DIM, DIM)
        self.last = nn.Linear(DIM, 16)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y = x + self.contract(self.expand(x).relu())
        return self.last(y), state + y.mean(dim=1)


@pytest.fixture(scope="module")
def graphs() -> tuple[Net, onnx.ModelProto, onnx.ModelProto]:
    torch.manual_seed(0)
    net = Net().eval()
    state = torch.zeros(1, DIM)
    plain = to_onnx(net, (torch.zeros(1, 4, DIM), state), {"past": state}, None)
    copied = onnx.ModelProto()
    copied.CopyFrom(plain)
    return net, plain, with_eight_bits(copied)


def test_large_products_become_small_and_the_last_one_stays(
    graphs: tuple[Net, onnx.ModelProto, onnx.ModelProto],
) -> None:
    _, plain, small = graphs
    kinds = [node.op_type for node in small.graph.node]
    assert kinds.count("MatMulNBits") == 2
    assert sum(kind in ("MatMul", "Gemm") for kind in kinds) == 1
    assert small.ByteSize() < 0.35 * plain.ByteSize()


def test_results_are_near(graphs: tuple[Net, onnx.ModelProto, onnx.ModelProto]) -> None:
    net, plain, small = graphs
    x = torch.randn(1, 4, DIM, generator=torch.Generator().manual_seed(1))
    feeds = {"input": x.numpy(), "past": np.zeros((1, DIM), np.float32)}
    expected = net(x, torch.zeros(1, DIM))[0].detach().numpy()
    errors = []
    for graph in (plain, small):
        session = ort.InferenceSession(graph.SerializeToString())
        got = session.run(None, feeds)[0]
        errors.append(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    assert errors[0] < 1e-5
    assert 1e-5 < errors[1] < 0.02


def test_stored_apart_they_come_back(
    graphs: tuple[Net, onnx.ModelProto, onnx.ModelProto], tmp_path: Path
) -> None:
    small, weights = graphs[2], {}
    whole = ort.InferenceSession(small.SerializeToString())
    copied = onnx.ModelProto()
    copied.CopyFrom(small)
    places = move_weights(copied, weights)
    save_file(weights, tmp_path / "model.safetensors")
    stored = load_file(tmp_path / "model.safetensors")
    assert sum(array.nbytes for array in stored.values() if array.dtype == np.uint8) == 6 * DIM**2
    options = ort.SessionOptions()
    values = Weights(tmp_path / "model.safetensors", {"net": places}).of("net")
    options.add_external_initializers(list(values), list(values.values()))
    (tmp_path / "net.onnx").write_bytes(copied.SerializeToString())
    apart = ort.InferenceSession(str(tmp_path / "net.onnx"), options)
    x = np.random.default_rng(0).standard_normal((1, 4, DIM)).astype(np.float32)
    feeds = {"input": x, "past": np.zeros((1, DIM), np.float32)}
    np.testing.assert_array_equal(apart.run(None, feeds)[0], whole.run(None, feeds)[0])


def test_only_parts_with_eight_bits_may_be_further_off() -> None:
    Parity(1.0, -61).check()
    Parity(0.985, -61).check(("encoder",))
    Parity(1.0, -25).check(("decoder",))
    Parity(0.985, -25).check(("encoder", "decoder"))
    for parity, parts in (
        (Parity(0.985, -61), ("decoder",)),
        (Parity(1.0, -25), ("encoder",)),
        (Parity(0.97, -61), ("encoder",)),
        (Parity(1.0, -19), ("decoder",)),
        (Parity(1.0, float("nan")), ("encoder", "decoder")),
    ):
        with pytest.raises(ValueError, match="nothing was written"):
            parity.check(parts)
