"""8-bit weights: which tensors are rounded, the error, and how they are stored and loaded."""

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
from chirrup.lab.export.export import to_onnx
from chirrup.lab.export.int8 import LEAST_EQUAL, int8_products
from chirrup.lab.export.integer_products import integer_products
from chirrup.lab.export.model_folder import move_weights, rounded, rows_of
from chirrup.lab.export.parity import Parity, share_equal, stream, whole_chunks
from chirrup.lab.export.program_file import FileOperation, read
from chirrup.lab.export.program_int8 import has_matrices, int8_decoder, place_of_mark
from chirrup.lab.export.variant import MOST_DB
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.export import DEMO_CLIP, excerpt, export_with_int8
from chirrup.runtime.graph import Weights
from chirrup.runtime.native import PROGRAM
from chirrup.zoo import FOLDER
from installed_engines import INSTALLED, needs_native
from small_model import ENTRY, NAME, Exported

pytest_plugins = ["models_fixture"]

DIM = 256


class Net(nn.Module):
    """A model of two large products and a small one."""

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
    return net, plain, int8_products(copied)


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
    """A graph of 2-D products with bias, as in `nn/one_step.py`, and a DFT."""

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
    small = int8_products(plain)
    kinds = [node.op_type for node in small.graph.node]
    assert (kinds.count("MatMulNBits"), kinds.count("MatMul"), kinds.count("Gemm")) == (1, 1, 0)
    feeds = {"input": x.numpy(), "past": state.numpy()}
    got = np.asarray(ort.InferenceSession(small.SerializeToString()).run(None, feeds)[0])
    expected = net(x, state)[0].detach().numpy()
    assert 1e-5 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 0.02
    assert capfd.readouterr() == ("", ""), "the quantizer logs each product"


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


# --- integer products -----------------------------------------------------------------------------


def test_integer_products_have_the_results_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first term alone, the largest error would be 0.004."""
    monkeypatch.setattr("chirrup.lab.export.integer_products.LARGE", DIM**2)
    torch.manual_seed(0)
    net, state = Net().eval(), torch.zeros(2, DIM)
    for linear in (net.expand, net.contract):
        linear.weight.data = torch.from_numpy(rounded(linear.weight.detach().numpy()))
    x = torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(1))
    x[0, 0], x[0, 1, 5], x[1, 2] = 0, 1000, 1e-30
    graph = to_onnx(net, (x, state), {"past": state}, None)
    whole = ort.InferenceSession(graph.SerializeToString())
    integer_products(graph)
    kinds = [node.op_type for node in graph.graph.node]
    assert (kinds.count("MatMulNBits"), kinds.count("MatMul") + kinds.count("Gemm")) == (2, 1)
    feeds = {"input": x.numpy(), "past": state.numpy()}
    expected = np.asarray(whole.run(None, feeds)[0])
    got = np.asarray(ort.InferenceSession(graph.SerializeToString()).run(None, feeds)[0])
    error = np.linalg.norm(got - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert error.max() < 1e-4


def test_products_of_other_weights_stay_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chirrup.lab.export.integer_products.LARGE", DIM**2)
    torch.manual_seed(0)
    state = torch.zeros(1, DIM)
    graph = to_onnx(Net().eval(), (torch.zeros(1, 4, DIM), state), {"past": state}, None)
    content = graph.SerializeToString()
    integer_products(graph)
    assert graph.SerializeToString() == content


def test_large_products_of_a_stored_model_read_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs of frames and of blocks share the bytes, and the codes do not change."""
    monkeypatch.setattr("chirrup.lab.export.integer_products.LARGE", 1 << 18)
    assert run(["export", "focal-small", str(tmp_path / "new"), "--int8", "stored"]) == 0
    new = chirrup.load(tmp_path / "new")
    stored = load_file(tmp_path / "new" / "model.safetensors")
    as_bytes = {name for name, array in stored.items() if array.dtype == np.uint8}
    read = {
        part: {place["tensor"] for place in own.values() if place.get("tensor") in as_bytes}
        for part, own in new.description["weights"].items()
    }
    for part in ("encoder", "decoder"):
        assert read[f"{part}-frame"] == read[part] != set()
    size = (FOLDER / "focal-small" / "model.safetensors").stat().st_size
    assert (tmp_path / "new" / "model.safetensors").stat().st_size < 1.05 * size


# --- rows of 8 bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(48, 100), (6, 1, 64), (32, 8, 5), (1, 200)])
def test_rows_are_found_again_exactly(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    array = random.standard_normal(shape) * random.uniform(1e-6, 10, (shape[0], 1, 1)[: len(shape)])
    array = rounded(array.astype(np.float32))
    found = rows_of(array)
    assert found is not None
    levels, scale = found
    assert levels.dtype == np.int8
    product = levels.reshape(len(scale), -1) * scale[:, None]
    np.testing.assert_array_equal(product.reshape(shape), array)
    np.testing.assert_array_equal(rounded(array), array)


def test_rounding_is_within_half_a_step_of_the_row() -> None:
    array = np.random.default_rng(1).standard_normal((20, 50)).astype(np.float32)
    array[3] = 0
    error = np.abs(rounded(array) - array).max(axis=1)
    assert np.all(error <= 0.501 * np.abs(array).max(axis=1) / 127)
    assert rows_of(array) is None


def test_rows_are_stored_as_bytes_in_either_orientation() -> None:
    array = rounded(np.random.default_rng(2).standard_normal((64, 96)).astype(np.float32))
    for kept in (array, np.ascontiguousarray(array.T)):
        graph = onnx.ModelProto()
        graph.graph.initializer.append(onnx.numpy_helper.from_array(kept, "w"))
        weights: dict[str, np.ndarray] = {}
        place = move_weights(graph, weights)["w"]
        assert weights[place["tensor"]].dtype == np.int8
        assert sum(stored.nbytes for stored in weights.values()) == array.size + 4 * 64


# --- variants of a shipped model ------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "int8"
    assert run(["export", "iris-t1", str(folder), "--int8", "decoder"]) == 0
    return folder


def test_a_model_in_eight_bits_reads_the_files_of_the_model(model: Path, tmp_path: Path) -> None:
    """Each model decodes the other's files."""
    for coder, decoder in (("iris-t1", str(model)), (str(model), "iris-t1")):
        coded, decoded = tmp_path / "a.chirrup", tmp_path / "a.wav"
        assert run(["encode", str(DEMO_CLIP), str(coded), "--model", coder, "--force"]) == 0
        assert run(["decode", str(coded), str(decoded), "--model", decoder, "--force"]) == 0
    whole, small = chirrup.load("iris-t1"), chirrup.load(model)
    assert small.weights_sha256 != small.codes_sha256 == whole.weights_sha256
    assert small.description["eight_bits"] == ["decoder"]
    for key in ("states", "training", "audit"):
        assert small.description[key] == whole.description[key]


@pytest.mark.parametrize("engine", INSTALLED)
def test_live_frames_are_near_those_of_the_model(engine: str, model: Path) -> None:
    """In blocks the convolutions of ONNX do not change; the graph for one frame has products.

    Its scales belong to 32 weights; the native engine has a scale per output.
    """
    codes = np.random.default_rng(0).integers(0, 1024, (1, 12, 50), np.int32)
    codecs = [chirrup.load(source, engine=engine) for source in ("iris-t1", model)]
    whole, small = (stream(codec.engines()[1], codes, 1) for codec in codecs)
    error = np.square(small - whole).mean() / np.square(whole).mean()
    assert 1e-6 < error < {"onnx": 1e-3, "native": 6e-3}[engine]


def test_stored_in_eight_bits_it_is_small_and_near(tmp_path: Path) -> None:
    folder = tmp_path / "stored"
    assert run(["export", "tq-small", str(folder), "--int8", "stored"]) == 0
    whole, small = chirrup.load("tq-small"), chirrup.load(folder)
    assert small.codes_sha256 == whole.weights_sha256
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, FOLDER / "tq-small")]
    assert sizes[0] < 0.65 * sizes[1]
    shape = (1, whole.codebooks, 50)
    codes = np.random.default_rng(0).integers(0, whole.codebook_size, shape, np.int32)
    for frames in (1, 50):
        a, b = (stream(codec.engines()[1], codes, frames) for codec in (whole, small))
        assert 1e-6 < np.square(a - b).mean() / np.square(a).mean() < 1e-2


@needs_native
@pytest.mark.parametrize(("name", "share"), [("iris-t1", 1), ("tq-small", 0.8)])
def test_the_program_has_the_weights_of_the_graphs(name: str, share: float, tmp_path: Path) -> None:
    """The first has a GRU and 8-bit weights already, the second LSTMs and transposed layers."""
    assert run(["export", name, str(tmp_path / "new"), "--int8", "stored"]) == 0
    both = [chirrup.load(tmp_path / "new", engine=engine) for engine in ("onnx", "native")]
    audio = whole_chunks(both[0], excerpt(None, both[0].input_rate_hz))
    encoders, decoders = zip(*(codec.engines() for codec in both), strict=True)
    codes, found = (stream(encoder, audio, audio.shape[-1]) for encoder in encoders)
    assert share_equal(found, codes) > 0.999, "float sums in another order change near ties"
    sound, made = (stream(decoder, codes, codes.shape[-1]) for decoder in decoders)
    assert np.square(made - sound).mean() < 1e-8 * np.square(sound).mean()
    whole = (FOLDER / name / PROGRAM).stat().st_size
    assert (tmp_path / "new" / PROGRAM).stat().st_size <= share * whole


@needs_native
def test_only_products_of_the_decoder_get_rounded_inputs(model: Path, tmp_path: Path) -> None:
    content = (model / PROGRAM).read_bytes()
    exact = [
        {own.numbers[place_of_mark(own)] for own in part.operations if is_int8(own)}
        for part in read(content)[0]
    ]
    assert exact == [{1}, {0}]
    assert int8_decoder(content) == content
    after = tmp_path / "both"
    assert run(["export", str(model), str(after), "--int8", "both"]) == 0
    assert (after / PROGRAM).read_bytes() == content, "the encoder stays as it is"


def is_int8(operation: FileOperation) -> bool:
    return has_matrices(operation) and operation.weights[0].dtype == np.int8


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
    parity = export_with_int8(checkpoint, tmp_path / "new" / "model", ("encoder", "decoder"))
    assert parity.codes_equal == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    assert chirrup.load(tmp_path / "new" / "model").codes_sha256 == small_codec.weights_sha256


def test_a_checkpoint_stored_in_eight_bits_has_the_rounded_weights(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity is measured against the rounded model."""
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    checkpoint = small_export.folder.with_name("small-checkpoint.pt")
    folder = tmp_path / "model"
    assert run(["export", str(checkpoint), str(folder), "--int8", "stored"]) == 0
    parity = chirrup.load(folder).description["parity"]
    assert parity["codes_equal"] > 0.999
    assert parity["audio_error_db"] < -60
    stored = load_file(folder / "model.safetensors")
    levels = sum(array.nbytes for array in stored.values() if array.dtype == np.int8)
    whole = load_file(small_export.folder / "model.safetensors")
    assert levels > 0.3 * sum(array.size for array in whole.values())


def test_how_far_off_they_may_be() -> None:
    Parity(0.985, -25).check(LEAST_EQUAL, MOST_DB)
    for parity in (Parity(0.97, -25), Parity(0.985, -19), Parity(1.0, float("nan"))):
        with pytest.raises(ValueError, match="nothing was written"):
            parity.check(LEAST_EQUAL, MOST_DB)
