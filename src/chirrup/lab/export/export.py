"""Export of a trained model to a folder of ONNX graphs, weights, program and ``model.json``.

The folder contains:

- ``encoder.onnx``, ``decoder.onnx``: graphs for any number of streams and frames;
- ``encoder-frame.onnx``, ``decoder-frame.onnx``: graphs for one frame of one stream;
- ``features.onnx``, ``waveform.onnx``: the two halves of a decoder that supports voice conversion;
- ``model.chirp``: the program of the native engine, if the engine has all layers of the model;
- ``model.safetensors`` and ``model.json``: see `model_folder.py`.

The graphs and the program run frame by frame and in blocks before the folder is written. If their
output differs from the model in PyTorch, nothing is written.
"""

import logging
import warnings
from collections.abc import Iterator
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
from chirrup.lab.export.integer_products import integer_products
from chirrup.lab.export.model_folder import write
from chirrup.lab.export.parity import Parity, engines_of, measure, whole_chunks, worst
from chirrup.lab.export.preroll import preroll_frames
from chirrup.lab.export.program import program_of
from chirrup.lab.export.same_codes import codes_of, order_codebooks_as
from chirrup.lab.models import Model
from chirrup.lab.quantizers.pseudo_gray import order_codebooks
from chirrup.runtime import native


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
    pseudo_gray: bool = False,
    like: Path | None = None,
) -> Parity:
    """Export a trained model to ``folder``.

    Args:
        name: the model's name in ``model.json``.
        audio: a few seconds of real signal at the model's ``input_rate_hz`` to compare graphs and
            model on: ``float32 [samples]``, or ``[channels, samples]`` for joint coding.
        card: information about the training, for ``model.json``.
        lowest: fewest codebooks that the model was trained for.
        exact: whether to keep float32 weights; else they are rounded to float16.
        compact: whether to round matrices to 8 bits; see `fold`. Large products of the graphs then
            read bytes; see `integer_products`.
        pseudo_gray: whether to put the codebooks into a pseudo-Gray order. The codes then differ
            from the codes of an export without it.
        like: folder of a model with equal codes; the two then decode each other's files. The
            codebooks get its order, so ``pseudo_gray`` is ignored.

    Returns:
        The agreement between exported forms and model, the worst of all forms.

    Raises:
        ModelError: there are no codebooks for a pseudo-Gray order.
        UsageError: the codes differ from the codes of ``like``; nothing is written.
        ValueError: the graphs or the program differ from the model; nothing is written.
    """
    description = describe(model, name, lowest, card or {})
    folded = fold(model, exact, compact)
    del model  # may be the only reference
    index_order = None
    if like is not None:
        index_order = order_codebooks_as(folded.quantizer, like)
    elif pseudo_gray:
        order_codebooks(folded.quantizer)
        index_order = "pseudo-gray"
    if index_order is not None:
        description["index_order"] = index_order
    about = "exporting %s, and comparing the export with the model"
    logging.getLogger(__name__).info(about, name)
    program, expected = program_if_any(folded), outputs_of(folded, audio)
    preroll = preroll_frames(folded, torch.from_numpy(audio))

    def check(draft: Path) -> dict[str, Any]:
        shared = {"codes_sha256": codes_of(draft, like)} if like else {}
        codecs = (chirrup.load(draft, engine=engine) for engine in engines_of(program))
        parity = worst(measure(codec, *expected) for codec in codecs)
        parity.check()
        return {"preroll_frames": preroll, "parity": asdict(parity), **shared}

    graphs = graphs_of(folded)
    del folded  # the graphs have its weights; the memory is free when they are made
    if compact:
        graphs = in_integers(graphs)
    return Parity(**write(folder, graphs, description, check, program)["parity"])


def program_if_any(folded: Model) -> bytes | None:
    """Return the program of a folded model.

    None if the native engine lacks one of its layers, or is not installed here to check it.
    """
    if folded.channels > 1 or folded.chunk_frames > 1 or native.library() is None:
        return None
    try:
        return program_of(*for_export(folded), folded.frame_samples)
    except NotImplementedError:
        return None


def graphs_of(folded: Model) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Return the graphs of a folded model with the names of their files, one after another."""
    encoder, decoder = for_export(folded)
    states = initial_states(folded)
    chunk = folded.chunk_frames
    steps = {"encoder": chunk * folded.input_frame_samples, "decoder": chunk}
    several = (folded.channels,) if folded.channels > 1 else ()
    inputs = {
        "encoder": torch.zeros(2, *several, 3 * steps["encoder"]),
        "decoder": torch.zeros(2, folded.codebooks, 3 * chunk, dtype=torch.int32),
    }
    for part, module in (("encoder", encoder), ("decoder", decoder)):
        state = list(states[part].values())
        both = tuple(value.expand(2, *value.shape[1:]).clone() for value in state)
        yield part, to_onnx(module, (inputs[part], *both), states[part], steps[part])
        one = inputs[part][:1, ..., : steps[part]]
        single = for_one_frame(module)
        yield f"{part}-frame", to_onnx(single, (one.clone(), *state), states[part], None)
    if folded.has_features:
        features, waveform = HalfGraph(decoder, 0), HalfGraph(decoder, 1)
        x = inputs["decoder"]
        for part, half in (("features", features), ("waveform", waveform)):
            own = {name: states["decoder"][name] for name in half.names}
            both = tuple(value.expand(2, *value.shape[1:]).clone() for value in own.values())
            yield part, to_onnx(half, (x, *both), own, chunk)
            x = half(x, *both)[0]


def in_integers(
    graphs: Iterator[tuple[str, onnx.ModelProto]],
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Return graphs whose large products read bytes."""
    for part, graph in graphs:
        integer_products(graph)
        yield part, graph
        del graph


def describe(model: Model, name: str, lowest: int, card: dict[str, Any]) -> dict[str, Any]:
    """Return the model's description for ``model.json``, without weights and hashes."""
    frame_by_frame = model.chunk_frames == 1 and model.input_rate_hz == model.sample_rate_hz
    return {
        "name": name,
        "format": 1 if frame_by_frame else 2,
        "chirrup": chirrup.__version__,
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
        **({"binary_codes": True} if model.quantizer.binary_codes else {}),
        "default_bitrate_bps": round(model.codebook_bps * model.codebooks),
        "lowest_bitrate_bps": round(model.codebook_bps * lowest),
        "lost_frames": model.lost_frames,
        "states": {
            part: {key: list(value.shape[1:]) for key, value in state.items()}
            for part, state in initial_states(model).items()
        },
        "audit": audit(model, model.narrow()),
        "training": card,
    }


def initial_states(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the initial states of encoder and decoder for one stream."""
    return {"encoder": model.encoder.initial_state(1), "decoder": model.decoder.initial_state(1)}


def to_onnx(
    module: nn.Module, inputs: tuple[Tensor, ...], states: dict[str, Tensor], step: int | None
) -> onnx.ModelProto:
    """Export a module as an ONNX graph.

    Args:
        module: takes an input and the states, and returns an output and the new states.
        inputs: examples of input and states.
        states: the states by name.
        step: length of a chunk along the input's last axis. The graph then takes any batch size and
            any number of chunks. None fixes both to the sizes of ``inputs``.
    """
    shapes = None
    if step is not None:
        batch, steps = torch.export.Dim("batch"), torch.export.Dim("frames")
        time = {inputs[0].dim() - 1: steps if step == 1 else step * steps}
        shapes = ({0: batch} | time, tuple({0: batch} for _ in states))
    for logger in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # warnings about internals of the exporter
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
def outputs_of(folded: Model, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signal, codes and decoded audio of ``audio``, as `measure` expects them."""
    signal = whole_chunks(folded, audio)
    codes = folded.quantizer.encode(folded.encoder.offline(torch.from_numpy(signal)))
    decoded = folded.decoder.offline(folded.quantizer.decode(codes)).numpy()
    return signal, codes.int().numpy(), decoded
