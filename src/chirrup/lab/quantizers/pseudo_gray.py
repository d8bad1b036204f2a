"""Pseudo-Gray order of codebooks, so that an index with one wrong bit gives a similar entry.

The order of a codebook's entries is free. `pseudo_gray_order` searches an order with a low expected
distortion under one bit error, by the binary switching algorithm (Zeger and Gersho, "Pseudo-Gray
coding", IEEE Transactions on Communications 38, 1990). No entry changes, so the quality without bit
errors stays as it is.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from chirrup.errors import ModelError
from chirrup.lab.quantizers.level import Level
from chirrup.lab.quantizers.quantizer import Quantizer


def pseudo_gray_order(vectors: np.ndarray) -> np.ndarray:
    """Return an order of vectors in which indices that differ in one bit have near vectors.

    The search starts with the order of `_split`. It then exchanges two entries as long as an
    exchange lowers the distortion. All entries count as equally probable.

    Args:
        vectors: entries of a codebook, ``[entries, dim]``.

    Returns:
        The entry of each index, ``int64 [entries]``.
    """
    squares = np.square(vectors).sum(axis=1)
    distance = np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0)
    size, bits = len(vectors), (len(vectors) - 1).bit_length()
    order = _split(vectors, bits)
    flips = np.arange(size)[:, None] ^ 1 << np.arange(bits)
    valid = flips < size  # an index beyond the codebook has no entry and counts as no distortion
    flips = np.where(valid, flips, 0)
    own = (distance[order[:, None], order[flips]] * valid).sum(axis=1)
    improved = True
    while improved:
        improved = False
        for index in np.argsort(-own):
            near, entry = flips[index][valid[index]], order[index]
            there = (distance[entry][order[flips]] * valid).sum(axis=1)
            here = distance[order[:, None], order[near]].sum(axis=1)
            change = there + here - own[index] - own
            change[near] += 2 * distance[entry, order[near]]
            other = int(change.argmin())
            if change[other] >= -1e-9 * own[index]:
                continue
            order[[index, other]] = order[[other, index]]
            touched = np.unique([index, other, *near, *flips[other][valid[other]]])
            moved = distance[order[touched][:, None], order[flips[touched]]] * valid[touched]
            own[touched] = moved.sum(axis=1)
            improved = True
    return order


def _split(vectors: np.ndarray, bits: int) -> np.ndarray:
    """Return an order whose bits halve the set along its principal directions.

    The first bit halves the entries along their first principal direction, the second bit each half
    along the second one, and so on, from the first direction again after the last.
    """
    centred = vectors - vectors.mean(axis=0)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    places = centred @ directions
    order = np.arange(len(vectors))
    for bit in reversed(range(bits)):
        along = places[:, (bits - 1 - bit) % places.shape[1]]
        groups = range(0, len(order), 2 << bit)
        parts = [order[start : start + (2 << bit)] for start in groups]
        order = np.concatenate([part[np.argsort(along[part], kind="stable")] for part in parts])
    return order


def bit_error_distortion(vectors: np.ndarray) -> float:
    """Return the mean squared distance between an entry and the entry of an index with a wrong bit.

    All entries and all bits are equally probable. A wrong index beyond the codebook is left out.

    Args:
        vectors: entries of a codebook in their order, ``[entries, dim]``.
    """
    size, bits = len(vectors), (len(vectors) - 1).bit_length()
    flips = np.arange(size)[:, None] ^ 1 << np.arange(bits)
    first, _ = np.nonzero(flips < size)
    return float(np.square(vectors[first] - vectors[flips[flips < size]]).sum(axis=1).mean())


def projected_entries(level: Level) -> Tensor:
    """Return the entries of a level in the latent, without its bias: ``[entries, dim]``."""
    entries = level.entries()
    return entries @ level.project_out.weight[:, :, 0].T if level.projects else entries


@torch.no_grad()
def order_codebooks(quantizer: Quantizer) -> list[tuple[float, float]]:
    """Put the entries of all codebooks of a folded quantizer into a pseudo-Gray order, in place.

    Distances are distances of the quantized latent, the input of the decoder.

    Returns:
        `bit_error_distortion` of each codebook, before and after.

    Raises:
        ModelError: the quantizer has no codebooks whose order can change.
    """
    if not quantizer.trained_levels:
        raise ModelError(
            "the model has no trained codebooks to put into a pseudo-Gray order: export it without "
            "--pseudo-gray"
        )
    changes = []
    for level in quantizer.trained_levels:
        vectors = projected_entries(level).double().numpy()
        order = pseudo_gray_order(vectors)
        codebook = cast(Tensor, level.codebook)
        codebook.data = codebook.data[torch.from_numpy(order)]
        changes.append((bit_error_distortion(vectors), bit_error_distortion(vectors[order])))
    return changes
