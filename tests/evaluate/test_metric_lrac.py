"""Metrics of the LRAC challenge: the aggregate score of published results, and metrics that need
weights, with small graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chirrup.evaluate.metrics import METRICS, Unavailable, available, score
from chirrup.evaluate.metrics.lrac import track1_aggregate, variable, with_model

AUDIO = 0.5 * np.sin(np.arange(32_000) / 5)


@pytest.mark.parametrize(
    ("numbers", "published"),
    [
        ((62.65, 81.75, 3.02, 4.44, 2.82, 4.35, 85.43), 71.91),
        ((59.23, 81.17, 3.13, 4.44, 2.60, 4.22, 78.12), 70.86),
        ((60.90, 80.69, 3.40, 4.16, 2.08, 2.98, 85.57), 69.22),
        ((65.20, 89.19, 2.74, 4.12, 1.70, 2.82, 82.98), 67.48),
        ((35.22, 77.24, 2.21, 4.30, 2.03, 4.26, 80.29), 59.42),
        ((42.75, 62.56, 2.30, 3.29, 1.68, 2.05, 75.34), 49.94),
        ((17.92, 74.28, 1.31, 3.35, 1.26, 2.20, 75.90), 42.36),
    ],
)
def test_the_aggregate_is_the_published_one(numbers: tuple[float, ...], published: float) -> None:
    """The scores of the seven systems in track 1, from the table of the IRIS poster."""
    m1, m6, d1, d6, s1, s6, drt = numbers
    assert track1_aggregate((m1, m6), (d1, d6), (s1, s6), drt) == pytest.approx(
        published, abs=0.011
    )


def test_the_ends_of_the_aggregate() -> None:
    assert track1_aggregate((0, 0), (1, 1), (1, 1), -100) == 0
    assert track1_aggregate((100, 100), (5, 5), (5, 5), 100) == pytest.approx(100)
    with pytest.raises(ValueError, match="dmos_real"):
        track1_aggregate((50, 50), (0, 5), (1, 5), 50)


def graph(path: Path, output: str = "mean", inputs: int = 1) -> Path:
    """Write a graph: the mean absolute sample, or the first four samples as an embedding."""
    onnx: Any = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    if output == "mean":
        nodes = [
            helper.make_node("Abs", ["wave"], ["size"]),
            helper.make_node("ReduceMean", ["size"], ["out"], keepdims=0),
        ]
        constants = []
    else:
        nodes = [helper.make_node("Slice", ["wave", "start", "end", "axis"], ["out"])]
        constants = [
            helper.make_tensor(name, onnx.TensorProto.INT64, [1], [number])
            for name, number in (("start", 0), ("end", 4), ("axis", 1))
        ]
    names = ["wave", "length"][:inputs]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(name, floats, [1, "samples"]) for name in names],
            [helper.make_tensor_value_info("out", floats, None)],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["utmos", "sheet_ssqa", "audiobox_ce"])
def test_a_network_in_its_variable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), str(graph(tmp_path / "model.onnx")))
    assert available(name) is None
    value = score(name, None, AUDIO, 16_000)
    assert value == pytest.approx(np.abs(AUDIO).mean(), rel=1e-5)
    assert value == score(name, None, AUDIO, 16_000)
    assert score(name, None, 0 * AUDIO, 16_000) is None
    assert score(name, None, AUDIO[:1600], 16_000) is None


def test_a_network_as_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable("utmos"), raising=False)
    metric = with_model("utmos", graph(tmp_path / "model.onnx"))
    assert metric.label == METRICS["utmos"].label
    assert metric.score(AUDIO, AUDIO, 16_000) == pytest.approx(np.abs(AUDIO).mean(), rel=1e-5)
    with pytest.raises(KeyError):
        with_model("pesq_wb", tmp_path)


def test_scoreq_is_the_distance_of_two_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = graph(tmp_path / "model.onnx", output="embedding")
    monkeypatch.setenv(variable("scoreq_ref"), str(path))
    decoded = 0.5 * AUDIO
    expected = np.linalg.norm(AUDIO[:4] - decoded[:4])
    assert score("scoreq_ref", AUDIO, decoded, 16_000) == pytest.approx(expected, rel=1e-5)
    assert score("scoreq_ref", AUDIO, AUDIO, 16_000) == 0


def test_what_is_wrong_with_the_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable("utmos"), str(tmp_path / "none.onnx"))
    assert "does not exist" in str(available("utmos"))
    (tmp_path / "text.onnx").write_text("not a graph")
    monkeypatch.setenv(variable("utmos"), str(tmp_path / "text.onnx"))
    assert "not an ONNX graph" in str(available("utmos"))
    two = graph(tmp_path / "two.onnx", inputs=2)
    monkeypatch.setenv(variable("utmos"), str(two))
    assert "2 inputs" in str(available("utmos"))
    embedding = graph(tmp_path / "embedding.onnx", output="embedding")
    monkeypatch.setenv(variable("utmos"), str(embedding))
    with pytest.raises(Unavailable, match="4 numbers"):
        score("utmos", None, AUDIO, 16_000)
