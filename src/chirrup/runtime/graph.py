"""`Graph`, the engine that runs exported graphs in ONNX Runtime.

A model has two graphs, the encoder and the decoder. Each has two forms with the same weights: one
for any number of streams and frames, and one for exactly one frame of one stream, which takes two
thirds of the time. If a model codes a chunk of frames at once, the second form runs one chunk.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

from chirrup.errors import ModelError
from chirrup.runtime.dft import dft_matrix
from chirrup.runtime.graph_file import graph_content

GraphState = Mapping[str, ort.OrtValue]

ort.set_default_logger_severity(4)  # fatal only: errors are raised as exceptions


class Weights:
    """The tensors of ``model.safetensors``, widened to float32 from float16 and from 8-bit rows.

    Args:
        path: the weight file.
        places: place of each tensor, by graph and by the tensor's name in the graph. See
            `lab.export.model_folder.move_weights`.

    Raises:
        ModelError: the file is damaged.
    """

    def __init__(self, path: Path, places: Mapping[str, Mapping[str, Any]]) -> None:
        self.path, self.places = path, places
        self.values: dict[str, ort.OrtValue] = {}
        try:
            self.stored = load_file(path)
        except Exception as error:  # safetensors raises several direct children of it
            raise ModelError(f"{path} is damaged: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Make a copy read the file again, because values of ONNX Runtime cannot be pickled."""
        return Weights, (self.path, self.places)

    def of(self, graph: str) -> dict[str, ort.OrtValue]:
        """Return the tensors of a graph by name; graphs share equal tensors.

        Raises:
            ModelError: a tensor is missing, has another size, or is not finite.
        """
        return {name: self._value(place) for name, place in self.places[graph].items()}

    def _value(self, place: Mapping[str, Any]) -> ort.OrtValue:
        key = str(place)
        if key not in self.values:
            known = "waves" in place
            array = dft_matrix(place["waves"], place["n_fft"]) if known else self._stored(place)
            self.values[key] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        return self.values[key]

    def _stored(self, place: Mapping[str, Any]) -> np.ndarray:
        name, shape = place["tensor"], list(place["shape"])
        try:
            array = self.stored[name]
            scale = self.stored.get(f"{name}.scale")
            if scale is not None:
                with np.errstate(all="ignore"):
                    array = array.reshape(len(scale), -1) * scale[:, None]
            if place["swapped"]:
                array = np.swapaxes(array.reshape([*shape[:-2], shape[-1], shape[-2]]), -1, -2)
            array = (array.astype(np.float32) if array.dtype == np.float16 else array).reshape(
                shape
            )
        except (KeyError, ValueError, IndexError) as error:
            raise ModelError(f"{self.path} is damaged: tensor {name!r}: {error}") from error
        if not np.isfinite(array).all():
            raise ModelError(f"{self.path} is damaged: tensor {name!r} is not finite")
        return array.astype(np.float32) if array.dtype == np.float16 else array


class Sessions:
    """Sessions of ONNX Runtime for the graphs of a model's folder, with one set of weights.

    Args:
        folder: the model's folder, with a file ``{name}.onnx`` for each graph.
        weights: tensors of the graphs.
        sha256: SHA-256 of each graph; empty for a folder without hashes.
        threads: number of threads that one call may use.
    """

    def __init__(
        self, folder: Path, weights: Weights, sha256: Mapping[str, str], threads: int
    ) -> None:
        self.folder, self.weights, self.sha256, self.threads = folder, weights, sha256, threads

    def path(self, name: str) -> Path:
        """Return the path of a graph's file."""
        return self.folder / f"{name}.onnx"

    def open(self, name: str, states: Iterable[str]) -> ort.InferenceSession:
        """Load a graph.

        Its inputs are "input" and the states. Its outputs are the result and the next states.

        Raises:
            ModelError: the file is damaged, or the graph has other inputs or outputs.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Two-dimensional convolutions in blocks of channels take 0.8 of the time.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")
        path = self.path(name)
        content, values = graph_content(path, self.sha256.get(name)), self.weights.of(name)
        try:
            options.add_external_initializers(list(values), list(values.values()))
            session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises a dozen direct children of it
            raise ModelError(f"{path} is damaged: {error}") from error
        inputs = {"input", *states}
        if {value.name for value in session.get_inputs()} != inputs or (
            len(session.get_outputs()) != len(inputs)
        ):
            raise ModelError(f"{path} is damaged: it has other states than model.json")
        return session


class Graph:
    """An `engine.Engine` that runs the encoder or the decoder in ONNX Runtime.

    In the graph files of models with one channel, audio has no axis of channels.

    Args:
        part: "encoder" or "decoder". The graphs ``{part}`` and ``{part}-frame`` are used.
        states: shape of each state tensor for one stream, without the batch dimension.
        frame_shape: shape of one frame of the input, without the batch dimension. None allows any.
        output_shape: shape of the output for one frame. None allows any.
        codebook_size: number of values of the codes that the graph computes. None is for a graph
            that computes audio or features.
    """

    def __init__(
        self,
        sessions: Sessions,
        part: str,
        states: Mapping[str, tuple[int, ...]],
        frame_shape: tuple[int, int] | None,
        output_shape: tuple[int, int] | None,
        codebook_size: int | None = None,
    ) -> None:
        self.sessions, self.part, self.states = sessions, part, states
        self.frame_shape, self.output_shape = frame_shape, output_shape
        self.codebook_size = codebook_size
        self.is_mono_encoder = (
            codebook_size is not None and frame_shape is not None and frame_shape[0] == 1
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the sessions, which cannot be pickled; a copy opens them again."""
        attributes = self.__dict__.copy()
        for session in ("block", "frame"):
            attributes.pop(session, None)
        return attributes

    def sibling(self, part: str, states: Mapping[str, tuple[int, ...]]) -> "Graph":
        """Return an engine for another graph of the model, which computes features or audio."""
        return Graph(self.sessions, part, states, None, None)

    def initial_state(self, batch: int = 1) -> GraphState:
        """Return the state before the first sample of ``batch`` streams."""
        return self.restore(
            {name: np.zeros((batch, *shape), np.float32) for name, shape in self.states.items()}
        )

    def restore(self, saved: Mapping[str, np.ndarray]) -> GraphState:
        """Return the state that `save` converted to arrays.

        Raises:
            ValueError: the state is of another engine.
        """
        if set(saved) != set(self.states):
            raise ValueError(
                "the state is not of ONNX Runtime: load the model with the engine 'native'"
            )
        return {
            name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(saved[name], np.float32))
            for name in self.states
        }

    @staticmethod
    def save(state: GraphState) -> dict[str, np.ndarray]:
        """Return a state as arrays."""
        return {name: value.numpy().copy() for name, value in state.items()}

    def __call__(self, x: np.ndarray, state: GraphState) -> tuple[np.ndarray, GraphState]:
        """Run the next piece ``x`` of each stream: ``[batch, ...]``, a whole number of frames.

        Raises:
            ModelError: the graph cannot be run, or its output has a wrong shape, type or range.
        """
        one = self.frame_shape is not None and x.shape == (1, *self.frame_shape)
        session = self.frame if one else self.block
        given = x[:, 0] if self.is_mono_encoder else x
        value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(given))
        feeds = {"input": value, **state}
        try:
            output, *after = session.run_with_ort_values(None, feeds)
            array = output.numpy()
        except Exception as error:  # see `Sessions.open`
            raise ModelError(f"{self.sessions.path(self.part)} cannot be run: {error}") from error
        if array.ndim == 2:
            array = array[:, None]
        self.check(x, array)
        return array, dict(zip(self.states, after, strict=True))

    def check(self, x: np.ndarray, output: np.ndarray) -> None:
        """Raise ModelError if the output for ``x`` has a wrong shape, type or range."""
        if self.output_shape is not None and self.frame_shape is not None:
            rows, length = self.output_shape
            shape = (len(x), rows, x.shape[-1] // self.frame_shape[-1] * length)
            if output.shape != shape:
                self._wrong(f"the shape {list(output.shape)} instead of {list(shape)}")
        if self.codebook_size is None:
            if output.dtype != np.float32 or not np.isfinite(output).all():
                self._wrong("values that are not finite")
        elif not np.issubdtype(output.dtype, np.integer):
            self._wrong(f"{output.dtype} instead of codes")
        elif output.size and not 0 <= output.min() <= output.max() < self.codebook_size:
            self._wrong(f"codes that are not from 0 to {self.codebook_size - 1}")

    def _wrong(self, what: str) -> NoReturn:
        raise ModelError(f"{self.sessions.path(self.part)} computes {what}: the model is damaged")

    @cached_property
    def block(self) -> ort.InferenceSession:
        return self.sessions.open(self.part, self.states)

    @cached_property
    def frame(self) -> ort.InferenceSession:
        return self.sessions.open(f"{self.part}-frame", self.states)
