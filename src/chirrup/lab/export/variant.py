"""Variants of an exported model: other graphs and another program with the same codes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import chirrup
from chirrup.lab.export.model_folder import write
from chirrup.lab.export.parity import Parity, engines_of, measure, stream, whole_chunks, worst
from chirrup.runtime import native

MOST_DB = -20
"""Largest error of the audio of a variant, in dB."""


def read_program(source: Path, about: dict[str, Any]) -> bytes | None:
    """Return the program of a model folder.

    None if it has none, or if the native engine is not installed here to check a changed one.
    """
    if "program_sha256" not in about or native.library() is None:
        return None
    native.Program(source / native.PROGRAM, about["program_sha256"])  # to check it
    return (source / native.PROGRAM).read_bytes()


def write_variant(
    source: Path,
    folder: Path,
    graphs: dict[str, onnx.ModelProto],
    about: dict[str, Any],
    audio: np.ndarray,
    program: bytes | None,
    least_equal: float = 1,
) -> Parity:
    """Write changed graphs and program of ``source`` to ``folder``, with the hash of its codes.

    Args:
        least_equal: least share of equal codes.

    Returns:
        The agreement of the two models.

    Raises:
        ValueError: the two models differ too much; nothing is written.
    """
    codec = chirrup.load(source, engine="onnx")
    signal, (encoder, decoder) = whole_chunks(codec, audio), codec.engines()
    codes = stream(encoder, signal, codec.block_frames * codec.input_frame_samples)
    expected = stream(decoder, codes, codec.block_frames)

    def check(draft: Path) -> dict[str, Any]:
        codecs = (chirrup.load(draft, engine=engine) for engine in engines_of(program))
        parity = worst(measure(changed, signal, codes, expected) for changed in codecs)
        parity.check(least_equal, MOST_DB)
        return {"parity": asdict(parity)}

    about |= {"codes_sha256": codec.codes_sha256}
    about.pop("program_sha256", None)
    return Parity(**write(folder, graphs.items(), about, check, program)["parity"])
