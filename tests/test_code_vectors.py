"""The vectors of codes and their sums, compared with the quantizers of the lab."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import chirrup
from chirrup.lab.export.folding import fold
from chirrup.lab.export.program_file import read
from chirrup.lab.export.program_int8 import matrices
from chirrup.lab.models.model import Model
from chirrup.runtime.program_vectors import program_vectors
from once_a_session import once
from small_focal import NAME as FOCAL
from small_focal import export_small_focal, small_focal
from small_lrac import small_lrac
from small_model import Exported, small_iris
from small_programs import programs
from small_spectro import NAME as STEREO
from small_spectro import export_small_spectro, small_spectro

pytest_plugins = ["models_fixture"]


@pytest.fixture(scope="session")
def small_spectro_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return once(tmp_path_factory, STEREO, export_small_spectro)


@pytest.fixture(scope="session")
def one_focal_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return once(tmp_path_factory, f"{FOCAL}-waves", export_small_focal)


MODELS = {
    "small_export": small_iris,
    "small_lrac_export": small_lrac,
    "one_focal_export": small_focal,
    "small_spectro_export": small_spectro,
}


@pytest.mark.parametrize("name", MODELS)
def test_an_embedding_is_the_input_of_the_decoder(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name).folder
    model: Model = fold(MODELS[name]())
    codec = chirrup.load(folder)
    codes = np.random.default_rng(0).integers(0, codec.codebook_size, (codec.codebooks, 20))
    codes[-1, 5:] = codes[:, 10] = -1
    with torch.no_grad():
        expected = model.quantizer.decode(torch.from_numpy(codes)[None])[0].numpy()
    assert np.abs(expected).max() > 0.1
    assert np.abs(codec.embed(codes) - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.array_equal(codec.embed(np.stack([codes, codes]))[1], codec.embed(codes))
    fewer = np.where(np.arange(codec.codebooks)[:, None] < 1, codes, -1)
    assert np.array_equal(codec.embed(codes[:1]), codec.embed(fewer))
    with pytest.raises(ValueError, match="read-only"):
        codec.code_vectors[0] = 0
    assert codec.code_vectors.shape == (codec.codebooks, codec.codebook_size, len(expected))
    assert len(pickle.dumps(codec)) < 500_000
    if name == "small_export":  # a program has them too
        assert codec.engine == "native"
        other = chirrup.load(folder, engine="onnx").code_vectors
        assert np.array_equal(other, codec.code_vectors)


def test_vectors_of_programs_with_int8_weights(tmp_path: Path) -> None:
    """Products of int8 weights have their values, whether the engine rounds the inputs or not."""
    path, kinds = tmp_path / "model.chirp", set()
    for _, content in programs():
        path.write_bytes(content)
        lookup, product, *_ = read(content)[0][1].operations
        kinds.add((product.weights[0].dtype.name, product.numbers[9]))
        levels, dim, size = lookup.numbers[:3]
        entries = lookup.weights[0][: levels * size * dim].reshape(levels, size, dim)
        matrix = matrices(product)[0, : levels * (dim + 1), : product.numbers[5]]
        expected = entries @ matrix[: levels * dim].reshape(levels, dim, -1)
        expected += matrix[levels * dim :, None]
        found = program_vectors(path, hashlib.sha256(content).hexdigest())
        assert np.array_equal(found, expected)
    assert kinds == {("float32", 0), ("int8", 0), ("int8", 1)}


def test_a_model_without_vectors_says_so(one_focal_export: Exported, tmp_path: Path) -> None:
    """A folder that an earlier version exported does not state that its codes are binary."""
    folder = tmp_path / "earlier"
    shutil.copytree(one_focal_export.folder, folder)
    about = json.loads((folder / "model.json").read_text())
    assert about.pop("binary_codes")
    (folder / "model.json").write_text(json.dumps(about))
    codec = chirrup.load(folder)
    with pytest.raises(chirrup.ModelError, match="has no vectors of codes: its graphs"):
        codec.embed(np.zeros((1, 3), np.int16))
