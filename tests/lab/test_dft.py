"""DFT matrices are correct, and are computed instead of stored in a model's file."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from chirrup.lab.export.model_folder import move_weights
from chirrup.runtime.dft import dft_matrix, identify_dft
from chirrup.runtime.graph import Weights

KINDS = ["cosines", "sines", "inverse cosines", "inverse sines"]


@pytest.mark.parametrize("n_fft", [128, 960])
def test_there_and_back(n_fft: int) -> None:
    """Cosines transform the even part of a signal, and sines the odd part, there and back."""
    signal = np.random.default_rng(0).standard_normal(n_fft)
    mirrored = np.roll(signal[::-1], 1)
    even, odd = (signal + mirrored) / 2, (signal - mirrored) / 2
    half = n_fft // 2
    twice = np.full(half + 1, 2.0)
    twice[[0, -1]] = 1
    spectrum = np.fft.rfft(signal)
    real = (twice * even[: half + 1]) @ dft_matrix("cosines", n_fft)
    imaginary = 2 * odd[1:half] @ dft_matrix("sines", n_fft)
    np.testing.assert_allclose(real, spectrum.real, atol=1e-4)
    np.testing.assert_allclose(imaginary, spectrum.imag, atol=1e-4)
    np.testing.assert_allclose(
        real @ dft_matrix("inverse cosines", n_fft), even[: half + 1], atol=1e-5
    )
    back = -imaginary @ dft_matrix("inverse sines", n_fft)
    np.testing.assert_allclose(back, odd[: half + 1], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_gets_them_without_stored_copies(kind: str, tmp_path: Path) -> None:
    array = dft_matrix(kind, 256)
    assert identify_dft(array) == (kind, 256)
    other = array.copy()
    other[5, 5] += 1e-3
    assert identify_dft(other) is None
    graph = onnx.ModelProto()
    graph.graph.initializer.append(onnx.numpy_helper.from_array(array, "w"))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(other, "v"))
    stored: dict[str, np.ndarray] = {}
    places = move_weights(graph, stored)
    assert places["w"] == {"waves": kind, "n_fft": 256}
    assert sum(value.nbytes for value in stored.values()) == other.nbytes
    save_file(stored, tmp_path / "model.safetensors")
    values = Weights(tmp_path / "model.safetensors", {"net": places}).of("net")
    np.testing.assert_array_equal(values["w"].numpy(), array)
    np.testing.assert_array_equal(values["v"].numpy(), other)
