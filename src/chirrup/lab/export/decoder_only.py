"""Variants of an exported model that only decode: for earlier weights, and for players."""

from pathlib import Path

import numpy as np

from chirrup.lab.export import program_file
from chirrup.lab.export.model_folder import read
from chirrup.lab.export.parity import Parity
from chirrup.lab.export.variant import read_program, write_variant
from chirrup.spec import ENCODER_GRAPHS


def export_decoder(source: Path, folder: Path, audio: np.ndarray) -> Parity:
    """Write a variant of an exported model without its encoder, which decodes the same files.

    Args:
        source: folder of the exported model.
        folder: folder to write.
        audio: a few seconds of real signal to compare both models on; see `export.export`.

    Returns:
        The agreement of the two models.

    Raises:
        ModelError: ``source`` is damaged, has no ONNX graphs, or only decodes itself.
    """
    graphs, about = read(source)
    for graph in ENCODER_GRAPHS:
        graphs.pop(graph, None)
    about["states"] = about["states"] | {"encoder": {}}
    program = read_program(source, about)
    if program is not None:
        program = without_encoder(program)
    return write_variant(source, folder, graphs, about, audio, program)


def without_encoder(program: bytes) -> bytes:
    """Return a program file whose encoder has no operations; its frames have the same sizes."""
    (encoder, decoder), block_frames = program_file.read(program)
    absent = program_file.FilePart([], encoder.values[:0], 0, 0, encoder.sizes)
    return program_file.write([absent, decoder], block_frames)
