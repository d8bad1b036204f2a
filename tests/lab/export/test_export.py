"""Exported folders: graphs for one frame and for blocks, and ``model.json``."""

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import chirrup
import small_lrac
from chirrup.lab.audit.complexity import count
from chirrup.lab.export import export as exporting
from chirrup.lab.export.export import export
from chirrup.lab.export.folding import fold
from chirrup.lab.export.model_folder import move_weights, read, write
from chirrup.lab.export.parity import Parity
from chirrup.lab.models import Model
from chirrup.runtime.engine import Engine
from folded_models import MODELS, audio, codes, folded
from installed_engines import INSTALLED, needs_native
from rounding import error_db
from small_model import DELAY, FRAME, NAME, RATE_HZ, Exported, small_iris, speech_like

pytest_plugins = ["models_fixture"]

GRAPHS = ("encoder", "encoder-frame", "decoder", "decoder-frame")


@pytest.fixture(scope="session", params=MODELS)
def exported(request: pytest.FixtureRequest) -> tuple[str, Exported]:
    """Return each model with its name in `MODELS`."""
    fixture = {"iris": "small_export", "lrac": "small_lrac_export"}[request.param]
    return request.param, request.getfixturevalue(fixture)


@pytest.fixture(scope="session", params=INSTALLED)
def codec(
    request: pytest.FixtureRequest, exported: tuple[str, Exported]
) -> tuple[str, chirrup.Codec]:
    return exported[0], chirrup.load(exported[1].folder, engine=request.param)


def test_parity_is_measured_and_written_down(exported: tuple[str, Exported]) -> None:
    folder, parity = exported[1].folder, exported[1].parity
    assert parity.codes_equal >= 0.999
    assert parity.audio_error_db < -80
    about = json.loads((folder / "model.json").read_text())
    assert about["parity"] == {
        "codes_equal": parity.codes_equal,
        "audio_error_db": parity.audio_error_db,
    }


def in_pieces(graph: Engine, x: np.ndarray, lengths: list[int], unit: int) -> np.ndarray:
    """Run the graph in pieces of this many frames; the last piece may be shorter."""
    state, pieces, place = graph.initial_state(len(x)), [], 0
    for length in [*lengths, x.shape[-1] // unit]:
        piece = x[..., place : place + length * unit]
        if piece.shape[-1]:
            out, state = graph(piece, state)
            pieces.append(out)
        place += length * unit
    return np.concatenate(pieces, axis=-1)


splits = st.lists(st.integers(1, 9), max_size=8)


@given(splits)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_encoder_in_random_pieces_is_one_call(
    codec: tuple[str, chirrup.Codec], lengths: list[int]
) -> None:
    frame, (encoder, _) = codec[1].frame_samples, codec[1].engines()
    x = audio(300)[:, None].numpy()
    whole = in_pieces(encoder, x, [], frame)
    assert (in_pieces(encoder, x, lengths, frame) == whole).mean() >= 0.999


@given(splits)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_decoder_in_random_pieces_is_one_call(
    codec: tuple[str, chirrup.Codec], lengths: list[int]
) -> None:
    _, decoder = codec[1].engines()
    x = codes(codec[0]).int().numpy()
    whole = in_pieces(decoder, x, [], 1)
    assert error_db(in_pieces(decoder, x, lengths, 1), whole) < -60


def test_frame_graphs_are_the_block_graphs_and_torch(codec: tuple[str, chirrup.Codec]) -> None:
    name, frame, (encoder, decoder) = codec[0], codec[1].frame_samples, codec[1].engines()
    x, model = audio(300)[:, None], folded(name)
    frames = x.shape[2] // frame
    by_frame = in_pieces(encoder, x.numpy(), [1] * frames, frame)
    torch_codes = model.quantizer.encode(model.encoder.offline(x))
    assert by_frame.dtype == np.int32
    assert (by_frame == in_pieces(encoder, x.numpy(), [], frame)).mean() >= 0.999
    assert (by_frame == torch_codes.numpy()).mean() >= 0.999
    given = codes(name).int().numpy()
    sound = in_pieces(decoder, given, [1] * given.shape[2], 1)
    assert error_db(sound, in_pieces(decoder, given, [], 1)) < -60
    expected = model.decoder.offline(model.quantizer.decode(codes(name)))
    assert error_db(sound, expected.numpy()) < -60


def test_without_the_state_the_audio_differs(codec: tuple[str, chirrup.Codec]) -> None:
    """Negative control of the tests above."""
    name, frame, (encoder, decoder) = codec[0], codec[1].frame_samples, codec[1].engines()
    x, given = audio(60)[:, None].numpy(), codes(name).int().numpy()
    half = encoder(x[:, :, 30 * frame :], encoder.initial_state())[0]
    assert (half == in_pieces(encoder, x, [], frame)[:, :, 30:]).mean() < 0.99
    sound = decoder(given[:, :, 50:], decoder.initial_state())[0]
    assert error_db(sound, in_pieces(decoder, given, [], 1)[:, :, 50 * frame :]) > -40


def test_batch_rows_are_independent(small_codec: chirrup.Codec) -> None:
    encoder, decoder = small_codec.engines()
    rows = np.concatenate([audio(60, seed)[:, None].numpy() for seed in (1, 2, 3)])
    together = in_pieces(encoder, rows, [20], FRAME)
    alone = np.concatenate([in_pieces(encoder, row[None], [20], FRAME) for row in rows])
    assert (together == alone).mean() >= 0.998  # of 720 samples
    sounds = in_pieces(decoder, alone, [20], 1)
    for row, sound in zip(alone, sounds):
        assert error_db(sound, in_pieces(decoder, row[None], [20], 1)[0]) < -60


def test_description(small_codec: chirrup.Codec) -> None:
    about = small_codec.description
    assert (about["name"], about["format"]) == (NAME, 1)
    assert about["chirrup"] == chirrup.__version__
    assert (small_codec.frame_samples, small_codec.delay_samples) == (FRAME, DELAY)
    assert about["audit"]["latency_samples"] == FRAME + DELAY
    measured = about["audit"]["latency_measured_samples"]
    assert FRAME + DELAY - 1 <= measured <= FRAME + DELAY  # the window's edge may be 0
    assert small_codec.default_bitrate_bps == small_codec.bitrates_bps[-1] == 1600


def test_description_of_a_model_with_look_ahead(small_lrac_export: Exported) -> None:
    small = chirrup.load(small_lrac_export.folder)
    latency = small_lrac.FRAME + small_lrac.DELAY
    about = small.description["audit"]
    assert small.latency_samples == about["latency_samples"] == latency
    assert about["latency_measured_samples"] == latency
    assert (small.bitrates_bps, small.default_bitrate_bps) == ([600, 1200, 1800], 1800)
    folded_search = count(small_lrac.small_lrac(), folded=True)["quantizer"]
    assert about["parts"]["quantizer"] == asdict(folded_search)
    sound = speech_like(10_001)
    assert small.decode(small.encode(sound)).shape == sound.shape


@needs_native
def test_files_can_be_read_by_everyone(small_export: Exported) -> None:
    files = sorted(small_export.folder.iterdir())
    expected = [
        *(f"{graph}.onnx" for graph in GRAPHS),
        "model.json",
        "model.safetensors",
        "model.chirp",
    ]
    assert [path.name for path in files] == sorted(expected)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o444 for path in files}
    assert set(modes.values()) == {0o444}, modes


def test_weights_are_stored_once_in_half_precision_and_not_in_the_graphs(
    small_export: Exported,
) -> None:
    stored = load_file(small_export.folder / "model.safetensors")
    contents = [array.astype(np.float32).tobytes() for array in stored.values()]
    assert len(set(contents)) == len(contents)
    by_hash = {tuple(np.sort(array.astype(np.float32)).tolist()) for array in stored.values()}
    assert len(by_hash) == len(contents), "a tensor stands there in two orders"
    for name, array in stored.items():
        if array.dtype == np.float32:
            assert not np.array_equal(array.astype(np.float16).astype(np.float32), array), name
    trained = sum(p.numel() for p in folded().parameters())
    halves = sum(array.size for array in stored.values() if array.dtype == np.float16)
    assert halves > 0.75 * trained  # the rest are small tensors and the quantizer's products
    weights = sum(array.nbytes for array in stored.values())
    graphs = sum((small_export.folder / f"{graph}.onnx").stat().st_size for graph in GRAPHS)
    assert (small_export.folder / "model.safetensors").stat().st_size < weights + 20_000
    assert graphs < 200_000


def test_weights_of_8_bits_give_the_audio_of_the_rounded_model(tmp_path: Path) -> None:
    """Also if layer scales are folded into the matrices: they are 1, which rounding must keep."""
    folder = tmp_path / "small"
    found = export(small_iris(), NAME, folder, speech_like(RATE_HZ, seed=99), compact=True)
    assert found.codes_equal > 0.999
    assert found.audio_error_db < -100
    kinds = {array.dtype for array in load_file(folder / "model.safetensors").values()}
    assert np.dtype(np.int8) in kinds or np.dtype(np.uint8) in kinds


# --- refusals, with graphs that are already there ------------------------------------------------


@pytest.fixture
def cheap_export(
    small_export: Exported, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Parity]:
    """`export` of the small model with the graphs of an earlier export."""
    graphs, _ = read(small_export.folder)
    names = iter(GRAPHS)

    def ready_made(*_: object) -> onnx.ModelProto:
        return graphs[next(names)]

    monkeypatch.setattr(exporting, "to_onnx", ready_made)
    monkeypatch.setattr("chirrup.lab.audit.complexity.latency_samples", lambda _: 720)
    return lambda folder: export(small_iris(), NAME, folder, speech_like(RATE_HZ, 7))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*")}


def test_cheap_export_is_the_export(
    cheap_export: Callable[[Path], Parity],
    small_export: Exported,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Control: without tampering it writes an equal folder, also to a new path."""
    caplog.set_level("INFO", "chirrup")
    cheap_export(tmp_path / "new" / "folder")
    assert caplog.messages == [f"exporting {NAME}, and comparing the export with the model"]
    got, expected = content(tmp_path / "new" / "folder"), content(small_export.folder)
    assert {n for n in expected if got[n] != expected[n]} <= {"model.json"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]


def wrong_weight(folded: Model) -> None:
    folded.encoder.layers[0].get_parameter("conv.weight")[0] *= 1.5


def wrong_sound(folded: Model) -> None:
    folded.decoder.layers[0].get_parameter("conv.weight")[:, 0] += 0.1


def not_a_number(folded: Model) -> None:
    folded.decoder.layers[0].get_parameter("conv.bias")[0] = torch.nan


@pytest.mark.parametrize("tamper", [wrong_weight, wrong_sound, not_a_number])
def test_graphs_that_differ_are_not_written(
    cheap_export: Callable[[Path], Parity],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tamper: Callable[[Model], None],
) -> None:
    def tampered(model: Model, exact: bool, compact: bool) -> Model:
        copied = fold(model, exact, compact)
        tamper(copied)
        return copied

    monkeypatch.setattr(exporting, "fold", tampered)
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "model.json").write_text("what was there")
    with pytest.raises(ValueError, match=r"differ from the model.*nothing was written|not finite"):
        cheap_export(folder)
    assert content(folder) == {"model.json": b"what was there"}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("codes_equal", "audio_error_db", "good"),
    [
        (1.0, -120.0, True),
        (0.995, -60.0, True),
        (0.9949, -120.0, False),
        (1.0, -59.9, False),
        (1.0, float("nan"), False),
        (float("nan"), -120.0, False),
    ],
)
def test_limits_of_parity(codes_equal: float, audio_error_db: float, good: bool) -> None:
    parity = Parity(codes_equal, audio_error_db)
    if good:
        parity.check()
    else:
        with pytest.raises(ValueError, match="nothing was written"):
            parity.check()


def test_move_weights_stores_equal_tensors_once() -> None:
    """Equal tensors may be reshaped, transposed or in another graph; float16 only if exact."""
    random = np.random.default_rng(0)
    exact = random.integers(-8, 8, (8, 16)).astype(np.float32)
    fine = random.standard_normal((8, 16)).astype(np.float32)
    tensors = {
        "a": exact,
        "reshaped": exact.reshape(4, 32),
        "swapped": np.ascontiguousarray(exact.T),
        "negative": np.where(exact == 0, np.float32(-0.0), exact),
        "fine": fine,
        "small": fine[:2, :2],
    }
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "test", [], [], initializers))
    weights: dict[str, np.ndarray] = {}
    places = move_weights(graph, weights)
    assert set(places) == {"a", "reshaped", "swapped", "negative", "fine"}
    assert sorted(array.dtype.name for array in weights.values()) == ["float16", "float32"]
    assert [places[name]["swapped"] for name in ("a", "reshaped", "swapped")] == [0, 0, 1]
    assert places["negative"] == places["a"]  # zeros have no sign


def test_weights_of_a_graph_are_moved_before_the_next_graph_is_made(tmp_path: Path) -> None:
    """So the graphs of a large model are not in memory together."""
    made: list[onnx.ModelProto] = []

    def graphs() -> Iterator[tuple[str, onnx.ModelProto]]:
        for index in range(3):
            assert all(not graph.graph.initializer[0].raw_data for graph in made)
            values = np.random.default_rng(index).standard_normal((16, 16)).astype(np.float32)
            tensor = onnx.numpy_helper.from_array(values, "weight")
            made.append(onnx.helper.make_model(onnx.helper.make_graph([], "", [], [], [tensor])))
            yield f"graph-{index}", made[-1]

    about = write(tmp_path / "model", graphs(), {}, lambda _: {"checked": True})
    assert about["checked"]
    assert set(about["weights"]) == set(about["graphs_sha256"]) == {f"graph-{i}" for i in range(3)}
    assert len(load_file(tmp_path / "model" / "model.safetensors")) == 3
