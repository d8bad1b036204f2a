"""An exported graph in ONNX Runtime, its streaming state handed in and out.

A model has two graphs, encoder and decoder, each in two forms with one set of weights: one for any
number of streams and frames, and one for exactly one frame of one stream, which takes two thirds
of the time. (Of a model that codes a chunk of frames at once, read chunk for frame.) State goes
from call to call as values that are never changed in place, so keeping one is keeping the moment.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

from chirrup.runtime.errors import ModelError
from chirrup.runtime.waves import waves

State = Mapping[str, ort.OrtValue]

ort.set_default_logger_severity(3)


class Weights:
    """The tensors of ``model.safetensors``; float16 ones, and rows of 8 bits, are widened.

    Args:
        places: for each graph, for each of its tensors: where it is (``lab/model_folder.py`` says
            how).
    """

    def __init__(self, path: Path, places: Mapping[str, Mapping[str, Any]]) -> None:
        self.stored, self.places = load_file(path), places
        self.values: dict[str, ort.OrtValue] = {}

    def of(self, graph: str) -> dict[str, ort.OrtValue]:
        """The tensors of a graph, by their names in it; graphs share what is the same."""
        return {name: self._value(place) for name, place in self.places[graph].items()}

    def _value(self, place: Mapping[str, Any]) -> ort.OrtValue:
        key = str(place)
        if key not in self.values:
            known = "waves" in place
            array = waves(place["waves"], place["n_fft"]) if known else self._stored(place)
            self.values[key] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        return self.values[key]

    def _stored(self, place: Mapping[str, Any]) -> np.ndarray:
        name, shape = place["tensor"], list(place["shape"])
        array = self.stored[name]
        scale = self.stored.get(f"{name}.scale")
        if scale is not None:
            array = array.reshape(len(scale), -1) * scale[:, None]
        if place["swapped"]:
            array = np.swapaxes(array.reshape([*shape[:-2], shape[-1], shape[-2]]), -1, -2)
        return (array.astype(np.float32) if array.dtype == np.float16 else array).reshape(shape)


class Graph:
    """One of the two graphs of a model.

    Args:
        folder: the model's folder, with ``{part}.onnx`` and ``{part}-frame.onnx``.
        part: "encoder" or "decoder".
        states: shape of each state tensor for one stream, without the batch dimension.
        frame_shape: shape of one frame of the input, without the batch dimension.
        threads: threads that one call may use.
    """

    def __init__(
        self,
        folder: Path,
        part: str,
        weights: Weights,
        states: dict[str, list[int]],
        frame_shape: tuple[int, ...],
        threads: int,
    ) -> None:
        self.folder, self.part, self.weights = folder, part, weights
        self.states, self.frame_shape, self.threads = states, frame_shape, threads

    def initial_state(self, batch: int = 1) -> State:
        """The state before the first sample of ``batch`` streams."""
        return self.restore(
            {name: np.zeros((batch, *shape), np.float32) for name, shape in self.states.items()}
        )

    def restore(self, saved: Mapping[str, np.ndarray]) -> State:
        """A state from the arrays that `save` gave."""
        return {
            name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(saved[name], np.float32))
            for name in self.states
        }

    @staticmethod
    def save(state: State) -> dict[str, np.ndarray]:
        """A state as arrays, to be kept or sent elsewhere."""
        return {name: value.numpy().copy() for name, value in state.items()}

    def __call__(self, x: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Run the next piece ``x`` of each stream: ``[batch, ...]``, a whole number of frames."""
        session = self.frame if x.shape == (1, *self.frame_shape) else self.block
        value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x))
        feeds = {"input": value, **state}
        output, *after = session.run_with_ort_values(None, feeds)
        return output.numpy(), dict(zip(self.states, after, strict=True))

    @cached_property
    def block(self) -> ort.InferenceSession:
        return self._session(self.part)

    @cached_property
    def frame(self) -> ort.InferenceSession:
        return self._session(f"{self.part}-frame")

    def _session(self, name: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = self.folder / f"{name}.onnx"
        try:
            values = self.weights.of(name)
            options.add_external_initializers(list(values), list(values.values()))
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has a dozen kinds, all directly below Exception
            raise ModelError(f"{path} is damaged: {error}") from error
