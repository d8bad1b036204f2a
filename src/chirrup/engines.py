"""The choice between the native engine and ONNX Runtime, and the opening of a model in it."""

import os
from pathlib import Path

from chirrup.errors import ModelError, UsageError
from chirrup.runtime import native
from chirrup.runtime.engine import Engine
from chirrup.runtime.graph_file import WEIGHTS
from chirrup.spec import ModelSpec

ENGINES = ("native", "onnx")
VARIABLE = "CHIRRUP_ENGINE"
"""Environment variable that chooses the engine if a program does not."""


def choose_engine(asked: str | None, folder: Path, spec: ModelSpec) -> str:
    """Return the name of the engine that runs a model.

    Args:
        asked: one of `ENGINES`. None selects the one in the variable ``CHIRRUP_ENGINE`` if the
            model has the files for it. Otherwise it selects the native engine if the model has a
            program and this installation has the engine's library, else ONNX Runtime.

    Raises:
        UsageError: there is no such engine.
        ModelError: the engine cannot run this model here.
    """
    preferred = asked if asked is not None else os.environ.get(VARIABLE) or "native"
    if preferred not in ENGINES:
        place = f"the environment variable {VARIABLE} is" if asked is None else "the engine is"
        raise UsageError(f"{place} {preferred!r}, must be {' or '.join(ENGINES)}")
    has_graphs, has_program = any(folder.glob("*.onnx")), bool(spec.program_sha256)
    if asked is not None:
        chosen = asked
    elif has_program and not has_graphs:
        chosen = "native"
    else:
        usable = has_program and native.library() is not None
        chosen = "native" if usable and preferred == "native" else "onnx"
    if chosen == "native" and not has_program:
        raise ModelError(
            f"{folder / 'model.json'} names no {native.PROGRAM} for the native engine: use the "
            "engine 'onnx', or export the model with this version of chirrup"
        )
    if chosen == "native" and native.library() is None:
        other = ", use the engine 'onnx'" if has_graphs else ""
        raise ModelError(
            f"{native.load_error()}: install chirrup again{other}, or compile the engine in a "
            "checkout with python native/build.py"
        )
    return chosen


def engine_files(spec: ModelSpec, engine: str) -> list[str]:
    """Return the names of the files with the graphs and weights that an engine reads."""
    if engine == "native":
        return [native.PROGRAM]
    return [WEIGHTS, *(f"{graph}.onnx" for graph in spec.weights)]


def model_files(spec: ModelSpec) -> list[str]:
    """Return the names of all files with graphs, weights and program that a model may have."""
    program = engine_files(spec, "native") if spec.program_sha256 else []
    return [*program, *engine_files(spec, "onnx")]


def open_engines(
    folder: Path, spec: ModelSpec, engine: str, threads: int
) -> tuple[Engine | None, Engine]:
    """Open the encoder, or None if the model only decodes, and the decoder of a model.

    Args:
        engine: one of `ENGINES`.
        threads: number of threads that one call of ONNX Runtime may use.

    Raises:
        ModelError: a file is damaged, or ONNX Runtime is not installed.
    """
    if engine == "native":
        program = native.Program(folder / native.PROGRAM, spec.program_sha256)
        codes = (spec.codebooks, spec.codebook_size)
        decoder = native.NativeEngine(program, "decoder", spec.frame_samples, *codes)
        if not spec.has_encoder:
            return None, decoder
        return native.NativeEngine(program, "encoder", spec.input_frame_samples, *codes), decoder
    try:
        from chirrup.runtime.graph import Graph, Sessions, Weights
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{spec.name} runs in ONNX Runtime here, and {error.name} is not installed: "
            "pip install 'chirrup[onnx]'"
        ) from error
    weights = Weights(folder / WEIGHTS, spec.weights)
    sessions = Sessions(folder, weights, spec.graphs_sha256, threads)
    codes = (spec.codebooks, spec.chunk_frames)
    audio = [
        (spec.channels, spec.chunk_frames * samples)
        for samples in (spec.input_frame_samples, spec.frame_samples)
    ]
    decoder = Graph(sessions, "decoder", spec.decoder_states, codes, audio[1])
    if not spec.has_encoder:
        return None, decoder
    encoder = Graph(sessions, "encoder", spec.encoder_states, audio[0], codes, spec.codebook_size)
    return encoder, decoder
