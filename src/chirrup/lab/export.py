"""A trained model to a folder that the runtime loads: ONNX graphs, weights, ``model.json``.

The folder:

- ``encoder.onnx``, ``decoder.onnx``: any number of streams and frames;
  ``encoder-frame.onnx``, ``decoder-frame.onnx``: one frame of one stream. Graphs only.
- ``features.onnx``, ``waveform.onnx``: the two halves of a decoder that can change the voice.
- ``model.safetensors``: the weights of all of them, each tensor once, float16 where that is exact.
- ``model.json``: rates, states, bitrates, audit, hash of the weights.

Nothing is written unless the graphs, run frame by frame and in blocks, agree with the model in
PyTorch.
"""

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.numpy import save
from torch import Tensor, nn

import chirrup
from chirrup.lab.complexity import (
    count,
    latency_samples,
    nominal_latency_samples,
    receptive_field_samples,
)
from chirrup.lab.eight_bits import with_eight_bits
from chirrup.lab.folding import HalfGraph, fold, for_export
from chirrup.lab.models import Model
from chirrup.lab.one_frame import for_one_frame
from chirrup.lab.preroll import preroll_frames
from chirrup.runtime.graph import Graph
from chirrup.voice import VoiceDecoder, has_features

WEIGHTS = "model.safetensors"
SMALLEST = 64
"""Tensors of fewer elements stay in the graph."""


@dataclass(frozen=True)
class Parity:
    """How far the exported graphs, by frames and by blocks, are from the model in PyTorch."""

    codes_equal: float
    audio_error_db: float

    def check(self, eight_bits: Collection[str] = ()) -> None:
        """ValueError if it is too far; parts with weights of ``eight_bits`` may be further off."""
        least = 0.98 if "encoder" in eight_bits else 0.999
        most = -20 if "decoder" in eight_bits else -60
        if not (self.codes_equal >= least and self.audio_error_db <= most):  # also if not a number
            raise ValueError(
                f"the exported graphs differ from the model: {self.codes_equal:.2%} of the codes "
                f"are equal, audio error {self.audio_error_db:.1f} dB; nothing was written"
            )


def export(
    model: Model,
    name: str,
    folder: Path,
    audio: np.ndarray,
    card: dict[str, Any] | None = None,
    *,
    lowest: int = 1,
    exact: bool = False,
    eight_bits: Collection[str] = (),
) -> Parity:
    """Write a trained model to ``folder``.

    Args:
        audio: a few seconds of real signal at the model's ``input_rate_hz``, on which parity is
            checked: ``float32 [samples]``, or ``[channels, samples]`` of what is coded jointly.
        card: what to keep in ``model.json`` about the training.
        lowest: fewest codebooks that the model was trained for.
        exact: keep the weights as they are; else they are rounded to float16.
        eight_bits: "encoder", "decoder" or both, whose matrix products get weights of 8 bits.

    Raises:
        ValueError: the graphs differ from the model (nothing is written).
    """
    folded = fold(model, exact)
    encoder, decoder = for_export(folded)
    states = {
        "encoder": folded.encoder.initial_state(1),
        "decoder": folded.decoder.initial_state(1),
    }
    chunk = model.chunk_frames
    steps = {"encoder": chunk * model.input_frame_samples, "decoder": chunk}
    several = (model.channels,) if model.channels > 1 else ()
    inputs = {
        "encoder": torch.zeros(2, *several, 3 * steps["encoder"]),
        "decoder": torch.zeros(2, model.codebooks, 3 * chunk, dtype=torch.int32),
    }
    weights: dict[str, np.ndarray] = {}
    graphs: dict[str, onnx.ModelProto] = {}
    for part, module in (("encoder", encoder), ("decoder", decoder)):
        state = list(states[part].values())
        both = tuple(value.expand(2, *value.shape[1:]).clone() for value in state)
        graphs[part] = to_onnx(module, (inputs[part], *both), states[part], steps[part])
        one = inputs[part][:1, ..., : steps[part]]
        single = for_one_frame(module)
        graphs[f"{part}-frame"] = to_onnx(single, (one.clone(), *state), states[part], None)
    if model.has_features:
        features, waveform = HalfGraph(decoder, 0), HalfGraph(decoder, 1)
        x = inputs["decoder"]
        for part, half in (("features", features), ("waveform", waveform)):
            own = {name: states["decoder"][name] for name in half.names}
            both = tuple(value.expand(2, *value.shape[1:]).clone() for value in own.values())
            graphs[part] = to_onnx(half, (x, *both), own, chunk)
            x = half(x, *both)[0]
    for part, graph in graphs.items():
        if ("encoder" if part.startswith("encoder") else "decoder") in eight_bits:
            graphs[part] = with_eight_bits(graph)
    places = {part: move_weights(graph, weights) for part, graph in graphs.items()}

    description = {
        "name": name,
        "format": 1 if chunk == 1 and model.input_rate_hz == model.sample_rate_hz else 2,
        "sample_rate_hz": model.sample_rate_hz,
        "input_rate_hz": model.input_rate_hz,
        "channels": model.channels,
        "frame_samples": model.frame_samples,
        "input_frame_samples": model.input_frame_samples,
        "chunk_frames": chunk,
        "delay_samples": model.delay_samples,
        "latency_samples": nominal_latency_samples(model),
        "codebooks": model.codebooks,
        "codebook_size": model.codebook_size,
        "default_bitrate_bps": round(model.codebook_bps * model.codebooks),
        "lowest_bitrate_bps": round(model.codebook_bps * lowest),
        "states": {
            part: {key: list(value.shape[1:]) for key, value in state.items()}
            for part, state in states.items()
        },
        "weights": places,
        "eight_bits": sorted(eight_bits),
        "audit": {
            "parts": {part: asdict(figures) for part, figures in count(model.outline()).items()},
            "latency_samples": nominal_latency_samples(model),
            "latency_measured_samples": latency_samples(model.narrow()),
            "receptive_field_samples": receptive_field_samples(model.encoder),
        },
        "training": card or {},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        draft = Path(temporary)
        content = save(weights)
        (draft / WEIGHTS).write_bytes(content)  # save_file would make it readable to its owner only
        description["weights_sha256"] = hashlib.sha256(content).hexdigest()
        for part, graph in graphs.items():
            (draft / f"{part}.onnx").write_bytes(graph.SerializeToString())
        (draft / "model.json").write_text(json.dumps(description, indent=1) + "\n")
        parity = compare(folded, draft, audio)
        parity.check(eight_bits)
        preroll = preroll_frames(folded, torch.from_numpy(audio))
        if preroll is not None:
            description["preroll_frames"] = preroll
        description["parity"] = asdict(parity)
        (draft / "model.json").write_text(json.dumps(description, indent=1) + "\n")
        folder.mkdir(parents=True, exist_ok=True)
        for path in draft.iterdir():
            path.replace(folder / path.name)
    return parity


def to_onnx(
    module: nn.Module, inputs: tuple[Tensor, ...], states: dict[str, Tensor], step: int | None
) -> onnx.ModelProto:
    """Export; with ``step`` (samples of a chunk, or its frames) for any batch and any length."""
    shapes = None
    if step is not None:
        batch, steps = torch.export.Dim("batch"), torch.export.Dim("frames")
        time = {inputs[0].dim() - 1: steps if step == 1 else step * steps}
        shapes = ({0: batch} | time, tuple({0: batch} for _ in states))
    for logger in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=["input", *states],
            output_names=["output", *(f"{name}.after" for name in states)],
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def move_weights(
    graph: onnx.ModelProto, weights: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Take the large tensors out of a graph into ``weights``, where each stands once.

    Two tensors of the same content in another shape, or with the last two axes swapped, are one.

    Returns:
        For each tensor of the graph: ``tensor``, its name in ``weights``, ``shape``, and
        ``swapped``, whether it is stored with the last two axes swapped.
    """
    places: dict[str, dict[str, Any]] = {}
    for tensor in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.size < SMALLEST:
            continue
        swapped = np.swapaxes(array, -1, -2) if array.ndim > 1 else array
        name, other = digest(array), digest(swapped)
        is_swapped = name not in weights and other in weights
        if name not in weights and not is_swapped:
            half = array.astype(np.float16)
            exact = array.dtype == np.float32 and np.array_equal(half.astype(np.float32), array)
            weights[name] = (half if exact else array).ravel()
        places[tensor.name] = {
            "tensor": other if is_swapped else name,
            "shape": list(array.shape),
            "swapped": is_swapped,
        }
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
    del graph.graph.value_info[:]
    graph.metadata_props.clear()
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return places


def digest(array: np.ndarray) -> str:
    """A name for the content of an array, whatever its shape."""
    return hashlib.sha256(str(array.dtype).encode() + array.tobytes()).hexdigest()[:16]


@torch.no_grad()
def compare(folded: Model, folder: Path, audio: np.ndarray) -> Parity:
    """Run ``audio`` through the exported folder and through the model at once.

    The folder's graphs, the decoder's halves too, get it frame by frame, then in blocks; what is
    furthest off counts.
    """
    codec = chirrup.load(folder)
    encoder, decoder = codec.graphs()
    chunk, samples = codec.chunk_frames, codec.input_frame_samples
    audio = audio[..., : audio.shape[-1] // (chunk * samples) * (chunk * samples)]
    heard = folded.tiled(torch.from_numpy(np.atleast_2d(audio))[None])
    latent = folded.encoder.offline(heard)
    whole = folded.quantizer.encode(latent)
    expected = folded.decoder.offline(folded.quantizer.decode(whole)).numpy()
    if folded.channels == 1:
        heard, expected = heard[:, 0], expected[:, 0]
    codes = whole.int().numpy()
    equal, errors = [], []
    decoders = [decoder, VoiceDecoder(codec, 1)] if has_features(codec) else [decoder]
    for frames in (chunk, codec.block_frames):
        streamed = stream(encoder, heard.numpy(), frames * samples)
        equal.append(float((streamed == codes).mean()))
        for graph in decoders:
            error = np.square(stream(graph, codes, frames) - expected).sum()
            errors.append(float(10 * np.log10(error / np.square(expected).sum() + 1e-30)))
    return Parity(min(equal), max(errors, key=lambda db: (np.isnan(db), db)))


def stream(graph: Graph, x: np.ndarray, step: int) -> np.ndarray:
    """All that a graph gives for ``x``, handed to it in pieces of ``step`` along the last axis."""
    state, pieces = graph.initial_state(), []
    for start in range(0, x.shape[-1], step):
        piece, state = graph(x[..., start : start + step], state)
        pieces.append(piece)
    return np.concatenate(pieces, axis=-1)
