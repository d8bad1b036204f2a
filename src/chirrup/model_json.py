"""Reading of ``model.json`` into a `spec.ModelSpec`, and checks of a model folder's files.

A model's folder may come from anybody, so every value is checked before it is used. This module
checks types, and compares the memory that tensor shapes require with the size of the files.
`spec.ModelSpec` checks ranges.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chirrup.errors import ModelError
from chirrup.parsing import parsing
from chirrup.runtime.dft import KINDS
from chirrup.runtime.graph_file import MOST_BYTES as MOST_GRAPH_BYTES
from chirrup.runtime.graph_file import WEIGHTS
from chirrup.runtime.native import MOST_BYTES as MOST_PROGRAM_BYTES
from chirrup.runtime.native import PROGRAM, library, load_error
from chirrup.runtime.reading import AGAIN, read_bytes, regular_size, sha256_of
from chirrup.spec import MOST_PREROLL_FRAMES, ModelSpec, Place, Shape, States, shown

FORMATS = (1, 2)
MOST_JSON_BYTES = 1 << 22
MOST_DIMENSIONS = 8
MOST_FFT = 1 << 13
MOST_MADE_BYTES = 1 << 26
"""Memory in bytes that states and Fourier matrices may take in addition to `MOST_EXPANSION`."""
MOST_EXPANSION = 20
"""Largest ratio of the memory of all tensors in float32 to the size of the weight file."""


def read_spec(folder: Path) -> tuple[ModelSpec, dict[str, Any]]:
    """Read the specification of a model's folder.

    Returns:
        The specification, and the whole content of ``model.json``.

    Raises:
        ModelError: ``model.json`` is missing or damaged.
    """
    about = _read_json(folder)
    try:
        spec = _parse(about)
        _check_card(about)
    except ValueError as error:
        raise ModelError(f"{folder} is not a whole model folder: {error}") from error
    return spec, about


def check_files(folder: Path, spec: ModelSpec, engine: str) -> None:
    """Check the sizes and hashes of the files that an engine reads.

    Args:
        engine: "native" or "onnx".

    Raises:
        ModelError: a file is missing or damaged.
    """
    if engine == "native":
        program = folder / PROGRAM
        if not program.exists():
            other = " or use the engine 'onnx'" if any(folder.glob("*.onnx")) else ""
            raise ModelError(f"{program} is missing: {AGAIN}{other}")
        if sha256_of(program, MOST_PROGRAM_BYTES) != spec.program_sha256:
            raise _damaged(program)
    else:
        _check_graph_files(folder, spec)


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged: its hash is wrong; {AGAIN}")


def _read_json(folder: Path) -> dict[str, Any]:
    content = read_bytes(folder / "model.json", MOST_JSON_BYTES)
    try:
        with parsing():
            about = json.loads(content)
    except ValueError as error:
        raise ModelError(f"{folder} is not a whole model folder: model.json: {error}") from error
    if not isinstance(about, dict) or "format" not in about:
        raise ModelError(f"{folder} is not a whole model folder: model.json states no format")
    if about["format"] not in FORMATS:
        raise ModelError(
            f"{folder} is of model format {shown(about['format'])}; this version of chirrup reads "
            "formats 1 and 2: upgrade chirrup"
        )
    return about


def _check_graph_files(folder: Path, spec: ModelSpec) -> None:
    weights, (read, made) = folder / WEIGHTS, spec.tensor_elements()
    if spec.program_sha256 and not any(folder.glob("*.onnx")):
        advice = (
            "ONNX Runtime and chirrup export need the graphs: use the engine 'native', or a folder "
            "that chirrup export wrote (a checkout has the graphs of all present models)"
        )
        if library() is None:
            advice = f"{load_error()}: install chirrup again"
        raise ModelError(
            f"{folder} has a program of the native engine and no ONNX graphs: {advice}"
        )
    most = 8 * read + MOST_JSON_BYTES  # the widest type has 8 bytes; a header comes first
    size = regular_size(weights, most)
    if 4 * (read + made) > MOST_EXPANSION * size + MOST_MADE_BYTES:
        raise ModelError(
            f"{folder} is not a whole model folder: its tensors and states would take "
            f"{4 * (read + made) / 1e6:.0f} MB, but the size of {WEIGHTS} is {size / 1e6:.3f} MB"
        )
    hashes = {WEIGHTS: spec.weights_sha256}
    for name in spec.weights:
        regular_size(folder / f"{name}.onnx", MOST_GRAPH_BYTES)
        if spec.graphs_sha256:
            hashes[f"{name}.onnx"] = spec.graphs_sha256[name]
    for name, sha256 in hashes.items():
        if sha256_of(folder / name, most if name == WEIGHTS else MOST_GRAPH_BYTES) != sha256:
            raise _damaged(folder / name)


# --- model.json, value by value ------------------------------------------------------------------


def _parse(about: dict[str, Any]) -> ModelSpec:
    rate, frame = _whole(about, "sample_rate_hz"), _whole(about, "frame_samples")
    states = _object(about, "states")
    weights_sha256 = _sha256(about, "weights_sha256")
    graphs_sha256 = _object(about, "graphs_sha256") if "graphs_sha256" in about else {}
    return ModelSpec(
        name=_text(about, "name"),
        sample_rate_hz=rate,
        input_rate_hz=_whole(about, "input_rate_hz", rate),
        channels=_whole(about, "channels"),
        frame_samples=frame,
        input_frame_samples=_whole(about, "input_frame_samples", frame),
        chunk_frames=_whole(about, "chunk_frames", 1),
        delay_samples=_whole(about, "delay_samples"),
        latency_samples=_whole(about, "latency_samples"),
        codebooks=_whole(about, "codebooks"),
        codebook_size=_whole(about, "codebook_size"),
        default_bitrate_bps=_whole(about, "default_bitrate_bps"),
        lowest_bitrate_bps=_whole(about, "lowest_bitrate_bps", 0),
        # Without this value, a seek decodes from the start of the file.
        preroll_frames=_whole(about, "preroll_frames", MOST_PREROLL_FRAMES),
        lost_frames=_value(about, "lost_frames", "model"),
        encoder_states=_states(states, "encoder"),
        decoder_states=_states(states, "decoder"),
        weights={name: _places(part, name) for name, part in _object(about, "weights").items()},
        weights_sha256=weights_sha256,
        codes_sha256=_sha256(about, "codes_sha256", weights_sha256),
        graphs_sha256={name: _sha256(graphs_sha256, name) for name in graphs_sha256},
        program_sha256=_sha256(about, "program_sha256") if "program_sha256" in about else "",
        binary_codes=_flag(about, "binary_codes"),
    )


def _value(about: Mapping[str, Any], key: str, default: Any = None) -> Any:
    if key not in about and default is None:
        raise ValueError(f"model.json has no {shown(key)}")
    return about.get(key, default)


def _whole(about: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = _value(about, key, default)
    if type(value) is not int or not 0 <= value < 2**32:
        raise ValueError(f"{shown(key)} is {shown(value)}, must be a whole number")
    return value


def _flag(about: Mapping[str, Any], key: str) -> bool:
    value = about.get(key, False)
    if type(value) is not bool:
        raise ValueError(f"{shown(key)} is {shown(value)}, must be true or false")
    return value


def _text(about: Mapping[str, Any], key: str) -> str:
    value = _value(about, key)
    if not isinstance(value, str):
        raise ValueError(f"{shown(key)} is {shown(value)}, must be text")
    return value


def _sha256(about: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = _value(about, key, default)
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{shown(key)} is {shown(value)}, must be 64 hexadecimal digits")
    return value


def _object(about: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = _value(about, key)
    if not isinstance(value, dict):
        raise ValueError(f"{shown(key)} is {shown(value)}, must be an object")
    return value


def _shape(about: Mapping[str, Any], key: str) -> Shape:
    value = _value(about, key)
    whole = isinstance(value, list) and all(type(n) is int and 0 <= n < 2**32 for n in value)
    if not whole or len(value) > MOST_DIMENSIONS:
        raise ValueError(
            f"{shown(key)} is {shown(value)}, must be the sizes of a tensor's dimensions"
        )
    return tuple(value)


def _states(states: dict[str, Any], part: str) -> States:
    shapes = _object(states, part)
    found = {name: _shape(shapes, name) for name in shapes}
    if () in found.values():
        raise ValueError(f"a state of the {part} has no dimensions")
    return found


def _places(part: Any, graph: str) -> dict[str, Place]:
    if not re.fullmatch("[a-z0-9-]{1,64}", graph):
        raise ValueError(f"weights has a graph {shown(graph)}, which is not a valid name")
    if not isinstance(part, dict):
        raise ValueError(f"weights of {graph} are {shown(part)}, must be an object")
    for name in part:
        place = _object(part, name)
        if "waves" in place:
            n_fft = _whole(place, "n_fft")
            if place["waves"] not in KINDS or n_fft % 2 or not 4 <= n_fft <= MOST_FFT:
                raise ValueError(
                    f"{shown(name)} of {graph} is {shown(place)}, must be a Fourier matrix of a "
                    f"known kind with an even n_fft from 4 to {MOST_FFT}"
                )
            continue
        _text(place, "tensor")
        shape, swapped = _shape(place, "shape"), _value(place, "swapped")
        if type(swapped) is not bool or (swapped and len(shape) < 2):
            raise ValueError(
                f"{shown(name)} of {graph} is {shown(place)}: swapped must be true or false, and "
                "true only with two dimensions or more"
            )
    return part


def _check_card(about: dict[str, Any]) -> None:
    """Check the licence and the numbers that commands print."""
    if "license" in about:
        _text(about, "license")
    if "audit" in about:
        audit = _object(about, "audit")
        parts = _object(audit, "parts")
        for figures in (audit, *(_object(parts, name) for name in parts)):
            _check_numbers({key: x for key, x in figures.items() if x not in (None, parts)})
    if "training" in about:
        scores = _object(about, "training").get("scores", {})
        scores = _object({"scores": scores}, "scores")
        for name in scores.keys() - {"clips"}:
            _check_numbers(_object(scores, name))


def _check_numbers(figures: Mapping[str, Any]) -> None:
    for key, value in figures.items():
        number = type(value) in (int, float) and -1e18 < value < 1e18
        if not number or not (key.isascii() and key.isprintable()):
            raise ValueError(f"{shown(key)} is {shown(value)}, must be a number")
