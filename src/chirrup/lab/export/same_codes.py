"""Models that code alike: equal encoders and codebooks, and decoders that may differ.

A decoder can be trained alone, for example for a voice. The codes then stay as they were, and every
model with these codes decodes them.
"""

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from torch import Tensor

from chirrup.errors import UsageError
from chirrup.lab.export.model_folder import constants_of, read
from chirrup.lab.quantizers.level import Level
from chirrup.lab.quantizers.quantizer import Quantizer
from chirrup.model_json import read_spec

PARTS = {"encoder": ("encoder.", "search."), "decoder": ("lookup.",)}
"""Beginnings of the names of the constants that determine codes and entries, by graph."""

ROUNDING = 1e-5
"""Difference of equal constants, relative to the largest value: an export adds up biases."""


@torch.no_grad()
def order_codebooks_as(quantizer: Quantizer, other: Path) -> str | None:
    """Put the entries of a folded quantizer into the order of another model, in place.

    The other model may have been exported in a pseudo-Gray order.

    Returns:
        ``index_order`` of the other model's ``model.json``, or None if it has none.

    Raises:
        UsageError: the other model has other entries.
        ModelError: the folder is damaged, or has no ONNX graphs.
    """
    graphs, about = read(other)
    if levels := quantizer.trained_levels:
        size, dim = levels[0].entries().shape
        table = torch.tensor(constants_of(graphs["decoder"]).get("lookup.table", []))
        rows = table.numel() / (len(levels) * dim)
        if rows not in (size, size + 1):  # the last row may be for codes that are not sent
            raise UsageError(f"the model does not have the codes of {other.name}: other codebooks")
        tables = table.reshape(len(levels), -1, dim)[:, :size]
        for index, (level, wanted) in enumerate(zip(levels, tables, strict=True)):
            codebook = cast(Tensor, level.codebook)
            codebook.data = codebook.data[order_of(level, wanted, index, other.name)]
    return about.get("index_order")


def order_of(level: Level, wanted: Tensor, index: int, name: str) -> Tensor:
    """Return the index of each of the entries ``wanted`` in a level: ``[entries]``.

    Raises:
        UsageError: the level has other entries.
    """
    own = level.entries()
    order = torch.cdist(wanted, own).argmin(dim=1)
    if len(order.unique()) != len(own) or not is_equal(own[order].numpy(), wanted.numpy()):
        raise UsageError(
            f"the model does not have the codes of {name}: codebook {index + 1} has other entries. "
            f"Start from {name} and train with train = ['decoder']"
        )
    return order


def codes_of(folder: Path, other: Path) -> str:
    """Return ``codes_sha256`` of a model, for another model with equal codes.

    Args:
        folder: exported model.
        other: exported model whose codes the first one has.

    Raises:
        UsageError: the models differ in a constant of the encoder or of the codebooks.
        ModelError: a folder is damaged, or has no ONNX graphs.
    """
    ours, theirs = (coding_constants(read(path)[0]) for path in (folder, other))
    spec, wanted = read_spec(folder)[0], read_spec(other)[0]
    if ours.keys() != theirs.keys() or spec.frame_samples != wanted.frame_samples:
        raise UsageError(f"the model does not have the codes of {wanted.name}: it has other layers")
    different = [name for name in ours if not is_equal(ours[name], theirs[name])]
    if different:
        raise UsageError(
            f"the model does not have the codes of {wanted.name}: {len(different)} tensors differ, "
            f"such as {different[0]}. Start from {wanted.name}, train with train = ['decoder'] and "
            "export with its options"
        )
    return wanted.codes_sha256


def is_equal(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Return whether arrays are equal apart from the rounding of sums."""
    if ours.shape != theirs.shape:
        return False
    return np.allclose(ours, theirs, rtol=0, atol=ROUNDING * np.abs(theirs).max(initial=0))


def coding_constants(graphs: dict[str, onnx.ModelProto]) -> dict[str, np.ndarray]:
    """Return the constants of graphs that determine codes and entries, by name."""
    return {
        name: values
        for part, beginnings in PARTS.items()
        for name, values in constants_of(graphs[part]).items()
        if name.startswith(beginnings)
    }
