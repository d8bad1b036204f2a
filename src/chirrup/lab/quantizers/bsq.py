"""Binary spherical quantization: one code of all the signs of a latent on the unit sphere."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.quantizers.rvq import Quantized


class BinarySphericalQuantizer(nn.Module):
    """Nothing learned: each of ``bits`` dimensions becomes +-1/sqrt(bits), by its sign.

    A code's most significant bit is the first dimension; 1 is positive, and zero counts as
    negative. The latent's length does not matter, so it is normalised in training only.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits, self.codebook_size = bits, 2**bits

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize for training.

        Args:
            latent: ``[batch, bits, frames]``.
            used: codebooks of each row; there is one.
            committed: rows whose commitment counts; there is none.

        Returns:
            The latent straight-through, and as ``projected`` that on the unit sphere, which a loss
            can push to the entries. The quantizer learns nothing, so its own losses are 0.
        """
        unit = F.normalize(latent, dim=1)
        entry = self._entry(unit > 0)
        nothing = latent.new_zeros(())
        return Quantized(
            latent=unit + (entry - unit).detach(),
            codes=self.encode(latent),
            commitment=nothing,
            codebook=nothing,
            projected=unit.detach().transpose(1, 2).flatten(0, 1)[None],
        )

    def encode(self, latent: Tensor) -> Tensor:
        """``[batch, bits, frames]`` to codes, ``int64 [batch, 1, frames]``."""
        return ((latent > 0) * self._weights(latent.device)).sum(dim=1, keepdim=True)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``int [batch, 1, frames]`` to ``[batch, bits, frames]``; absent (-1) is zero."""
        bits = (codes & self._weights(codes.device)) > 0
        return torch.where(codes >= 0, self._entry(bits), 0.0)

    def _weights(self, device: torch.device) -> Tensor:
        """What each dimension counts in a code, ``[bits, 1]``."""
        powers = [2**bit for bit in reversed(range(self.bits))]
        return torch.tensor(powers, device=device)[:, None]

    def _entry(self, positive: Tensor) -> Tensor:
        return torch.where(positive, self.bits**-0.5, -(self.bits**-0.5))
