"""Weights of 8 bits: what becomes small, how far off it is, how it is stored and loaded."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

import chirrup
from chirrup.cli import run
from chirrup.lab.eight_bits import LEAST_EQUAL, MOST_DB, with_eight_bits
from chirrup.lab.export import to_onnx
from chirrup.lab.model_folder import move_weights
from chirrup.lab.models import CONFIGS
from chirrup.lab.parity import Parity, stream
from chirrup.lab.training.run import DEMO_CLIP, export_in_eight_bits
from chirrup.runtime.graph import Weights
from small_model import ENTRY, NAME, Exported

pytest_plugins = ["models_fixture"]

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


class Flat(nn.Module):
    """Products of two axes and a sum, as `one_frame.py` has them, and a transform."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(DIM, DIM) / DIM**0.5)
        self.bias = nn.Parameter(torch.randn(DIM))
        self.register_buffer("cosines", torch.randn(DIM, DIM) / DIM**0.5)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.addmm(self.bias, x, self.weight)
        return y @ self.get_buffer("cosines"), state + y


def test_products_with_a_bias_become_small_and_transforms_stay(
    capfd: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    net, state, x = Flat().eval(), torch.zeros(1, DIM), torch.randn(1, DIM)
    plain = to_onnx(net, (x, state), {"past": state}, None)
    assert any(node.op_type == "Gemm" for node in plain.graph.node)
    small = with_eight_bits(plain)
    kinds = [node.op_type for node in small.graph.node]
    assert (kinds.count("MatMulNBits"), kinds.count("MatMul"), kinds.count("Gemm")) == (1, 1, 0)
    feeds = {"input": x.numpy(), "past": state.numpy()}
    got = np.asarray(ort.InferenceSession(small.SerializeToString()).run(None, feeds)[0])
    expected = net(x, state)[0].detach().numpy()
    assert 1e-5 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 0.02
    assert capfd.readouterr() == ("", ""), "the quantizer tells of each product"


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


# --- a shipped model once more -------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "int8"
    assert run(["export", "iris-t1", str(folder), "--int8", "decoder"]) == 0
    return folder


def test_a_model_in_eight_bits_reads_the_files_of_the_model(model: Path, tmp_path: Path) -> None:
    """And the model reads its."""
    for coder, decoder in (("iris-t1", str(model)), (str(model), "iris-t1")):
        coded, decoded = tmp_path / "a.chirrup", tmp_path / "a.wav"
        assert run(["encode", str(DEMO_CLIP), str(coded), "--model", coder, "--force"]) == 0
        assert run(["decode", str(coded), str(decoded), "--model", decoder, "--force"]) == 0
    whole, small = chirrup.load("iris-t1"), chirrup.load(model)
    assert small.weights_sha256 != small.codes_sha256 == whole.weights_sha256
    assert small.description["eight_bits"] == ["decoder"]
    for key in ("states", "training", "audit"):
        assert small.description[key] == whole.description[key]


def test_live_frames_are_near_those_of_the_model(model: Path) -> None:
    """In blocks its convolutions are the same; only one frame at a time has products."""
    codes = np.random.default_rng(0).integers(0, 1024, (1, 12, 50), np.int32)
    whole, small = (stream(chirrup.load(m).graphs()[1], codes, 1) for m in ("iris-t1", model))
    error = np.square(small - whole).mean() / np.square(whole).mean()
    assert 1e-6 < error < 1e-3


def test_once_more_of_itself_its_codes_are_still_the_models(model: Path, tmp_path: Path) -> None:
    assert run(["export", str(model), str(tmp_path / "again"), "--int8", "both"]) == 0
    again = chirrup.load(tmp_path / "again")
    assert again.codes_sha256 == chirrup.load("iris-t1").weights_sha256


def test_a_model_is_not_exported_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, why in (
        ([], "iris-t1 is a model already: give --int8"),
        (["--int8", "both", "--pack", str(tmp_path / "a.pt")], "--pack needs a checkpoint"),
    ):
        assert run(["export", "iris-t1", str(tmp_path / "out"), *more]) == 2
        assert why in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_in_eight_bits_leaves_nothing_else(
    small_export: Exported,
    small_codec: chirrup.Codec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    checkpoint = small_export.folder.with_name("small-checkpoint.pt")
    parity = export_in_eight_bits(checkpoint, tmp_path / "new" / "model", ("encoder", "decoder"))
    assert parity.codes_equal == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    assert chirrup.load(tmp_path / "new" / "model").codes_sha256 == small_codec.weights_sha256


def test_how_far_off_they_may_be() -> None:
    Parity(0.985, -25).check(LEAST_EQUAL, MOST_DB)
    for parity in (Parity(0.97, -25), Parity(0.985, -19), Parity(1.0, float("nan"))):
        with pytest.raises(ValueError, match="nothing was written"):
            parity.check(LEAST_EQUAL, MOST_DB)
