"""A trained model to a folder that the runtime loads: ONNX graphs, weights, ``model.json``.

The folder:

- ``encoder.onnx``, ``decoder.onnx``: any number of streams and frames;
  ``encoder-frame.onnx``, ``decoder-frame.onnx``: one frame of one stream. Graphs only.
- ``features.onnx``, ``waveform.onnx``: the two halves of a decoder that can change the voice.
- ``model.safetensors`` and ``model.json``: see `model_folder.py`.

Nothing is written unless the graphs, run frame by frame and in blocks, agree with the model in
PyTorch.
"""

import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

import chirrup
from chirrup.lab.audit.complexity import audit, nominal_latency_samples
from chirrup.lab.export.folding import HalfGraph, fold, for_export, for_one_frame
from chirrup.lab.export.model_folder import write
from chirrup.lab.export.parity import Parity, measure, whole_chunks
from chirrup.lab.export.preroll import preroll_frames
from chirrup.lab.models import Model


def export(
    model: Model,
    name: str,
    folder: Path,
    audio: np.ndarray,
    card: dict[str, Any] | None = None,
    *,
    lowest: int = 1,
    exact: bool = False,
    compact: bool = False,
) -> Parity:
    """Write a trained model to ``folder``.

    Args:
        audio: a few seconds of real signal at the model's ``input_rate_hz``, on which parity is
            checked: ``float32 [samples]``, or ``[channels, samples]`` of what is coded jointly.
        card: what to keep in ``model.json`` about the training.
        lowest: fewest codebooks that the model was trained for.
        exact: keep the weights as they are; else they are rounded to float16.
        compact: round them to 8 bits, as `fold` has it.

    Raises:
        ValueError: the graphs differ from the model (nothing is written).
    """
    folded = fold(model, exact, compact)
    description = describe(model, name, lowest, card or {})

    def check(draft: Path) -> dict[str, Any]:
        parity = compare(folded, draft, audio)
        parity.check()
        preroll = preroll_frames(folded, torch.from_numpy(audio))
        return {"preroll_frames": preroll, "parity": asdict(parity)}

    return Parity(**write(folder, graphs_of(folded), description, check)["parity"])


def graphs_of(folded: Model) -> dict[str, onnx.ModelProto]:
    """Of a folded model, by the names of their files."""
    encoder, decoder = for_export(folded)
    states = initial_states(folded)
    chunk = folded.chunk_frames
    steps = {"encoder": chunk * folded.input_frame_samples, "decoder": chunk}
    several = (folded.channels,) if folded.channels > 1 else ()
    inputs = {
        "encoder": torch.zeros(2, *several, 3 * steps["encoder"]),
        "decoder": torch.zeros(2, folded.codebooks, 3 * chunk, dtype=torch.int32),
    }
    graphs: dict[str, onnx.ModelProto] = {}
    for part, module in (("encoder", encoder), ("decoder", decoder)):
        state = list(states[part].values())
        both = tuple(value.expand(2, *value.shape[1:]).clone() for value in state)
        graphs[part] = to_onnx(module, (inputs[part], *both), states[part], steps[part])
        one = inputs[part][:1, ..., : steps[part]]
        single = for_one_frame(module)
        graphs[f"{part}-frame"] = to_onnx(single, (one.clone(), *state), states[part], None)
    if folded.has_features:
        features, waveform = HalfGraph(decoder, 0), HalfGraph(decoder, 1)
        x = inputs["decoder"]
        for part, half in (("features", features), ("waveform", waveform)):
            own = {name: states["decoder"][name] for name in half.names}
            both = tuple(value.expand(2, *value.shape[1:]).clone() for value in own.values())
            graphs[part] = to_onnx(half, (x, *both), own, chunk)
            x = half(x, *both)[0]
    return graphs


def describe(model: Model, name: str, lowest: int, card: dict[str, Any]) -> dict[str, Any]:
    """For ``model.json``: what a reader and a runtime need to know, and what `export` is told."""
    frame_by_frame = model.chunk_frames == 1 and model.input_rate_hz == model.sample_rate_hz
    return {
        "name": name,
        "format": 1 if frame_by_frame else 2,
        "sample_rate_hz": model.sample_rate_hz,
        "input_rate_hz": model.input_rate_hz,
        "channels": model.channels,
        "frame_samples": model.frame_samples,
        "input_frame_samples": model.input_frame_samples,
        "chunk_frames": model.chunk_frames,
        "delay_samples": model.delay_samples,
        "latency_samples": nominal_latency_samples(model),
        "codebooks": model.codebooks,
        "codebook_size": model.codebook_size,
        "default_bitrate_bps": round(model.codebook_bps * model.codebooks),
        "lowest_bitrate_bps": round(model.codebook_bps * lowest),
        "states": {
            part: {key: list(value.shape[1:]) for key, value in state.items()}
            for part, state in initial_states(model).items()
        },
        "audit": audit(model, model.narrow()),
        "training": card,
    }


def initial_states(model: Model) -> dict[str, dict[str, Tensor]]:
    """Of both parts, for one stream."""
    return {"encoder": model.encoder.initial_state(1), "decoder": model.decoder.initial_state(1)}


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


@torch.no_grad()
def compare(folded: Model, folder: Path, audio: np.ndarray) -> Parity:
    """How far an exported folder is from the model, on ``audio`` as `export` has it."""
    codec = chirrup.load(folder)
    signal = whole_chunks(codec, audio)
    codes = folded.quantizer.encode(folded.encoder.offline(torch.from_numpy(signal)))
    expected = folded.decoder.offline(folded.quantizer.decode(codes)).numpy()
    return measure(codec, signal, codes.int().numpy(), expected)
