"""Wrong bits between quantizer and decoder, in training."""

import numpy as np
import torch
from torch import Tensor

from chirrup.errors import ModelError
from chirrup.lab.quantizers.pseudo_gray import projected_entries, pseudo_gray_order
from chirrup.lab.quantizers.quantizer import Quantized, Quantizer


class BitErrors:
    """The bits of codes whose codebooks are in a pseudo-Gray order, as an export may order them.

    The quantizer does not change.

    Args:
        order: `entries` of an earlier object. By default the order of the present entries is
            searched.

    Raises:
        ModelError: the quantizer has no trained codebooks, or ``order`` is not one of its entries.
    """

    @torch.no_grad()
    def __init__(self, quantizer: Quantizer, order: Tensor | None = None) -> None:
        levels = quantizer.trained_levels
        if not levels:
            raise ModelError("the model has no trained codebooks: set codes.bit_errors to 0")
        self.quantizer = quantizer
        if order is None:
            vectors = [projected_entries(level).double().cpu().numpy() for level in levels]
            order = torch.from_numpy(np.stack(list(map(pseudo_gray_order, vectors))))
        every = torch.arange(quantizer.codebook_size).expand(len(levels), -1)
        if not torch.equal(order.sort(dim=1).values.cpu(), every):
            raise ModelError("the checkpoint has no order of these codebooks for codes.bit_errors")
        self.entries = order.to(levels[0].entries().device)
        """The code of each place in the order, ``[codebooks, entries]``."""
        self.places = self.entries.argsort(dim=1)

    @torch.no_grad()
    def error(self, quantized: Quantized, used: Tensor, flips: Tensor) -> Tensor:
        """Return what wrong bits add to the quantized latent, ``[batch, dim, frames]``.

        A wrong place beyond the codebook leaves the code as it is.

        Args:
            quantized: the quantizer's result.
            used: number of codebooks that each row uses, ``int64 [batch]``.
            flips: wrong bits of each code, as a number whose bits are set, ``int64 [batch,
                codebooks, frames]``.
        """
        codes = quantized.codes
        level = torch.arange(codes.shape[1], device=codes.device)[:, None]
        place, size = self.places[level, codes] ^ flips, self.places.shape[1]
        wrong = torch.where(place < size, self.entries[level, place.clamp(max=size - 1)], codes)
        absent = level >= used[:, None, None]
        both = torch.cat([codes.masked_fill(absent, -1), wrong.masked_fill(absent, -1)])
        right, received = self.quantizer.decode(both).chunk(2)
        return received - right
