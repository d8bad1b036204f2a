"""The vectors that codes stand for: their sum over the codebooks is the input of the decoder."""

from pathlib import Path

import numpy as np

from chirrup.codes import all_codebooks
from chirrup.errors import ModelError
from chirrup.runtime import native
from chirrup.runtime.graph_file import WEIGHTS
from chirrup.runtime.program_vectors import program_vectors
from chirrup.spec import ModelSpec

TABLE, PROJECT, BIAS = "lookup.table", "lookup.project", "lookup.bias"
"""Tensors of a decoder's graph: the entries of all codebooks, their projections and the biases. If
entries are projected, each codebook has one more, of zeros, for an absent code."""


def read_code_vectors(folder: Path, spec: ModelSpec, engine: str) -> np.ndarray:
    """Read the vectors of all codes from the files of an engine.

    Returns:
        ``float32 [codebooks, codebook_size, dimension]``.

    Raises:
        ModelError: the model has no such vectors, or a file is damaged.
    """
    if spec.binary_codes:
        return _binary(spec.codebook_size)[None]
    if engine == "native":
        vectors = program_vectors(folder / native.PROGRAM, spec.program_sha256)
    else:
        vectors = _graph_vectors(folder, spec)
    if vectors.shape[:2] != (spec.codebooks, spec.codebook_size):
        raise ModelError(
            f"{folder} is damaged: it has vectors {list(vectors.shape)} for {spec.codebooks} "
            f"codebooks of {spec.codebook_size} codes"
        )
    return vectors


def _binary(size: int) -> np.ndarray:
    """Return the vectors of binary spherical quantization: the bits as +-1/sqrt(bits)."""
    bits = (size - 1).bit_length()
    ones = np.arange(size)[:, None] >> np.arange(bits)[::-1] & 1
    height = np.float32(bits**-0.5)
    return np.where(ones, height, -height)


def _graph_vectors(folder: Path, spec: ModelSpec) -> np.ndarray:
    from chirrup.runtime.graph import Weights

    places = spec.weights["decoder"]
    if TABLE not in places or (PROJECT in places) != (BIAS in places):
        raise ModelError(
            f"{spec.name} has no vectors of codes: its graphs have no tables of entries that the "
            "decoder adds up"
        )
    names = (TABLE, PROJECT, BIAS) if PROJECT in places else (TABLE,)
    weights = Weights(folder / WEIGHTS, {"decoder": {name: places[name] for name in names}})
    arrays = [value.numpy() for value in weights.of("decoder").values()]
    try:
        table = arrays[0].reshape(spec.codebooks, -1, arrays[0].shape[-1])
        if len(names) == 1:
            return table.copy()
        project = arrays[1].reshape(spec.codebooks, -1, arrays[1].shape[-1])
        return table[:, : spec.codebook_size] @ project + arrays[2][:, None]
    except ValueError as error:
        raise ModelError(f"{folder / WEIGHTS} is damaged: {error}") from error


def embed(codes: np.ndarray, vectors: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Return the sums of the vectors of codes that are present.

    Args:
        codes: ``int [streams, codebooks, frames]``.
        vectors: ``float32 [codebooks, codebook_size, dimension]``.

    Returns:
        ``float32 [streams, dimension, frames]``.

    Raises:
        ValueError: there are too many codebooks, or a code is out of range.
    """
    whole = all_codebooks(codes, spec, len(codes))
    total = np.zeros((len(whole), whole.shape[2], vectors.shape[2]), np.float32)
    for table, row in zip(vectors, whole.transpose(1, 0, 2)):
        present = row >= 0
        total[present] += table[row[present]]
    return np.ascontiguousarray(total.transpose(0, 2, 1))
