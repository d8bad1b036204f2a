"""Binary spherical quantization (BSQ, arXiv 2406.07548).

The code of a latent is formed by the signs of its dimensions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.quantizers.quantizer import Quantized, Quantizer

SHARPNESS = 100.0
"""Inverse temperature of the softmax in `entropy_loss`; its logits are 2 * SHARPNESS * cosine."""


class BinarySphericalQuantizer(Quantizer):
    """Quantize each of ``bits`` dimensions to +-1/sqrt(bits) by its sign, without parameters.

    The first dimension is the most significant bit of the code. A positive value is 1, zero and
    negative values are 0. The norm of the latent does not change its code, so the latent is
    normalised in training only.
    """

    binary_codes = True

    def __init__(self, bits: int) -> None:
        super().__init__(2**bits)
        self.bits = bits

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize for training.

        Args:
            latent: ``[batch, bits, frames]``.
            used: ignored, because there is one codebook.
            committed: ignored, because there is no commitment loss.

        Returns:
            The quantized latent; ``projected`` is the latent on the unit sphere. Commitment and
            codebook loss are 0. ``others`` contains ``entropy``, see `entropy_loss`.
        """
        unit = self.bypassed(latent)
        entry = self._entry(unit > 0)
        nothing = latent.new_zeros(())
        vectors = unit.transpose(1, 2).flatten(0, 1)
        return Quantized(
            latent=unit + (entry - unit).detach(),
            codes=self.encode(latent),
            commitment=nothing,
            codebook=nothing,
            projected=vectors.detach()[None],
            others={"entropy": entropy_loss(vectors)},
        )

    def bypassed(self, latent: Tensor) -> Tensor:
        """Return the latent on the unit sphere."""
        return F.normalize(latent, dim=1)

    def encode(self, latent: Tensor) -> Tensor:
        """Encode latents ``[batch, bits, frames]`` to codes ``int64 [batch, 1, frames]``."""
        return ((latent > 0) * self._powers(latent.device)).sum(dim=1, keepdim=True)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode ``int [batch, 1, frames]`` to ``[batch, bits, frames]``; absent (-1) is zero."""
        bits = (codes & self._powers(codes.device)) > 0
        return torch.where(codes >= 0, self._entry(bits), 0.0)

    def macs_per_frame(self, folded: bool | None = None) -> int:
        return 0

    def exported(self) -> tuple[nn.Module, nn.Module]:
        return BSQEncode(self), BSQDecode(self)

    def _powers(self, device: torch.device) -> Tensor:
        """Return the power of two of each dimension, ``[bits, 1]``."""
        powers = [2**bit for bit in reversed(range(self.bits))]
        return torch.tensor(powers, device=device)[:, None]

    def _entry(self, positive: Tensor) -> Tensor:
        return torch.where(positive, self.bits**-0.5, -(self.bits**-0.5))


class BSQEncode(nn.Module):
    """Latents ``[batch, bits, frames]`` to codes ``int32 [batch, 1, frames]``."""

    def __init__(self, quantizer: BinarySphericalQuantizer) -> None:
        super().__init__()
        powers = [2.0**bit for bit in reversed(range(quantizer.bits))]
        self.register_buffer("powers", torch.tensor(powers)[:, None])

    def forward(self, latent: Tensor) -> Tensor:
        return ((latent > 0) * self.get_buffer("powers")).sum(dim=1, keepdim=True).int()


class BSQDecode(nn.Module):
    """Codes ``int32 [batch, 1, frames]`` to latents ``[batch, bits, frames]``.

    The bits are computed in floating point, which is exact for codes of up to 24 bits, because
    runtimes lack bitwise operators for this type.
    """

    def __init__(self, quantizer: BinarySphericalQuantizer) -> None:
        super().__init__()
        powers = [2.0**bit for bit in reversed(range(quantizer.bits))]
        self.register_buffer("powers", torch.tensor(powers)[:, None])
        self.height = quantizer.bits**-0.5

    def forward(self, codes: Tensor) -> Tensor:
        halves = (codes.float() / self.get_buffer("powers")).floor() * 0.5
        odd = halves != halves.floor()
        entry = torch.where(odd, self.height, -self.height)
        return torch.where(codes >= 0, entry, 0.0)


def entropy_loss(vectors: Tensor) -> Tensor:
    """Return the mean entropy of the code distributions minus the entropy of their mean, in nats.

    The distribution of a vector is a softmax over its cosines with all codes (arXiv 2406.07548,
    equations 12 to 14). The first term sharpens each distribution; the second spreads the use of
    the codes. Both are computed exactly:

    - the bits of one distribution are independent, so its entropy is the sum over its bits;
    - in the mean over vectors they are dependent. But each distribution is the outer product of
      the distributions of its first and of its remaining bits, so the mean is one product of two
      small matrices.

    Args:
        vectors: unit vectors, ``[vectors, bits]``.
    """
    bits = vectors.shape[1]
    logits = 4 * SHARPNESS * bits**-0.5 * vectors  # log odds that a bit is 1
    decided = (F.softplus(logits) - logits * logits.sigmoid()).sum(1).mean()
    first, rest = logits.split([bits - bits // 2, bits // 2], dim=1)
    mean = _choices(first).T @ _choices(rest) / len(vectors)
    return decided + (mean * mean.clamp(min=1e-12).log()).sum()


def _choices(logits: Tensor) -> Tensor:
    """Return probabilities of all bit patterns, ``[vectors, 2^bits]``, from the bits' logits."""
    bits = logits.shape[1]
    pattern = torch.arange(2**bits, device=logits.device)
    ones = (pattern >> torch.arange(bits, device=logits.device)[:, None] & 1).to(logits.dtype)
    return (F.logsigmoid(logits) @ ones + F.logsigmoid(-logits) @ (1 - ones)).exp()
