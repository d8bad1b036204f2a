"""Graph files: hashes, references to other files, and errors while a graph runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import chirrup
from chirrup.bitstream import FormatError, pack_packet
from chirrup.engines import VARIABLE
from chirrup.runtime.graph_file import graph_content
from chirrup.zoo import FOLDER

NOISE = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)


@pytest.fixture(autouse=True)
def onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the models in ONNX Runtime."""
    monkeypatch.setenv(VARIABLE, "onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(FOLDER / "lrac-t1", tmp_path / "model")


def without_hashes(folder: Path, **values: object) -> None:
    about = json.loads((folder / "model.json").read_text()) | values
    del about["graphs_sha256"]
    (folder / "model.json").write_text(json.dumps(about))


def changed(folder: Path, part: str, change: Callable[[onnx.GraphProto], None]) -> None:
    """Change both forms of a graph in a folder without hashes."""
    without_hashes(folder)
    for name in (part, f"{part}-frame"):
        graph = onnx.load(folder / f"{name}.onnx", load_external_data=False)
        change(graph.graph)
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())


@pytest.mark.parametrize("name", ["encoder", "decoder-frame"])
def test_a_flipped_bit_of_a_graph_is_noticed(folder: Path, name: str) -> None:
    path = folder / f"{name}.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(chirrup.ModelError, match=rf"{name}\.onnx is damaged: its hash is wrong"):
        chirrup.load(folder)


def elsewhere(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_attribute(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
    graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def in_branch(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
    branch = helper.make_graph([], "branch", [], [], [tensor])
    graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch))


def in_sparse(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
    graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, dims=[9]))


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret.bin", "encoder.onnx"])
@pytest.mark.parametrize(
    "put",
    [lambda graph, tensor: graph.initializer.append(tensor), in_attribute, in_branch, in_sparse],
    ids=["initializer", "attribute", "branch", "sparse"],
)
def test_a_graph_reads_no_other_file(
    folder: Path, location: str, put: Callable[[onnx.GraphProto, onnx.TensorProto], None]
) -> None:
    """ONNX Runtime 1.20 to 1.23 writes the content of any file into the audio."""
    changed(folder, "encoder", lambda graph: put(graph, elsewhere(location)))
    with pytest.raises(chirrup.ModelError, match=f"reads '{location}'; a graph may read model.saf"):
        chirrup.load(folder).encode(NOISE[:2400])


def test_a_later_location_counts_too(tmp_path: Path) -> None:
    """Protobuf uses the last of several values, but all of them are checked."""
    entry = b"\x0a\x08location" + b"\x12\x11model.safetensors" + b"\x12\x05/etc/"
    tensor = b"\x6a" + bytes([len(entry)]) + entry
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    (tmp_path / "x.onnx").write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(chirrup.ModelError, match="reads '/etc/'"):
        graph_content(tmp_path / "x.onnx")


def divide_by_zero(graph: onnx.GraphProto) -> None:
    last = next(node for node in graph.node if "output" in node.output)
    last.output[list(last.output).index("output")] = "finite"
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    graph.node.append(helper.make_node("Div", ["finite", "zero"], ["output"]))


def other_states(graph: onnx.GraphProto) -> None:
    graph.output.pop()


def impossible_shape(graph: onnx.GraphProto) -> None:
    last = next(node for node in graph.node if "output" in node.output)
    last.output[list(last.output).index("output")] = "whole"
    graph.initializer.append(numpy_helper.from_array(np.array([7, -1]), "seven"))
    graph.node.append(helper.make_node("Reshape", ["whole", "seven"], ["output"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (divide_by_zero, "computes values that are not finite: the model is damaged"),
        (other_states, "has other states than model.json"),
        (impossible_shape, "cannot be run|frame.onnx is damaged"),
    ],
)
def test_a_decoder_that_computes_no_audio_is_refused(
    folder: Path, change: Callable[[onnx.GraphProto], None], words: str
) -> None:
    codes = chirrup.load(folder).encode(NOISE[:2400])
    changed(folder, "decoder", change)
    codec = chirrup.load(folder)
    packets = codec.encoder().push(NOISE[:240])
    with pytest.raises(chirrup.ModelError, match=words):
        codec.decode(codes)
    with pytest.raises(chirrup.ModelError, match=words):
        codec.decoder().push(packets[0])


def test_codes_beyond_the_codebook_are_the_models_fault(folder: Path) -> None:
    without_hashes(folder, codebook_size=513)
    with pytest.raises(chirrup.ModelError, match="computes codes that are not from 0 to 512"):
        chirrup.load(folder).encode(NOISE)


def test_a_code_beyond_the_codebook_is_a_malformed_packet(folder: Path) -> None:
    """513 codes take 10 bits, so a packet can hold invalid codes. The stream does not change."""
    without_hashes(folder, codebook_size=513)
    codec = chirrup.load(folder)
    decoder, control = codec.decoder(), codec.decoder()
    sound = pack_packet(np.full((6, 2), 512), None, 10)
    wrong = pack_packet(np.full((6, 3), 513), None, 10)
    again = pack_packet(np.full((6, 2), 512), np.full((2, 3), 513), 10)
    for stream in (decoder, control):
        stream.push(sound)
    for packet, following in ((wrong, None), (None, again)):
        with pytest.raises(
            FormatError, match="code 513 is too large for a codebook of 513 entries"
        ):
            decoder.push(packet, following)
    for packet in (None, sound):
        np.testing.assert_array_equal(decoder.push(packet), control.push(packet))


@pytest.mark.parametrize(
    ("changes", "bits", "frames"), [({"chunk_frames": 7}, 10, 4), ({"codebook_size": 16}, 4, 2)]
)
def test_the_default_packet_fits_the_model(
    folder: Path, changes: dict[str, int], bits: int, frames: int
) -> None:
    """The default packet has at most 4 frames, and enough frames to determine the number of
    codebooks."""
    rates = {"default_bitrate_bps": 600 * bits, "lowest_bitrate_bps": 100 * bits}
    without_hashes(folder, **changes, **rates)
    codec = chirrup.load(folder)
    assert codec.encoder().frames_per_packet == codec.decoder().frames_per_packet == frames
