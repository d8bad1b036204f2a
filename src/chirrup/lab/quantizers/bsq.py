"""Binary spherical quantization: one code of all the signs of a latent on the unit sphere."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.quantizers.quantizer import Quantized, Quantizer

SHARPNESS = 100.0
"""Of the softmax over codes in `entropy_loss`; its exponent is twice this times the cosine."""


class BinarySphericalQuantizer(Quantizer):
    """Nothing learned: each of ``bits`` dimensions becomes +-1/sqrt(bits), by its sign.

    A code's most significant bit is the first dimension; 1 is positive, and zero counts as
    negative. The latent's length does not matter, so it is normalised in training only.
    """

    def __init__(self, bits: int) -> None:
        super().__init__(2**bits)
        self.bits = bits

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize for training.

        Args:
            latent: ``[batch, bits, frames]``.
            used: codebooks of each row; there is one.
            committed: rows whose commitment counts; there is none.

        Returns:
            The latent straight-through, and as ``projected`` that on the unit sphere. The quantizer
            learns nothing, so commitment and codebook loss are 0; ``others`` has the ``entropy``
            of `entropy_loss`.
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
        """The latent on the unit sphere."""
        return F.normalize(latent, dim=1)

    def encode(self, latent: Tensor) -> Tensor:
        """``[batch, bits, frames]`` to codes, ``int64 [batch, 1, frames]``."""
        return ((latent > 0) * self._powers(latent.device)).sum(dim=1, keepdim=True)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``int [batch, 1, frames]`` to ``[batch, bits, frames]``; absent (-1) is zero."""
        bits = (codes & self._powers(codes.device)) > 0
        return torch.where(codes >= 0, self._entry(bits), 0.0)

    def macs_per_frame(self, folded: bool | None = None) -> int:
        return 0

    def exported(self) -> tuple[nn.Module, nn.Module]:
        return BSQEncode(self), BSQDecode(self)

    def _powers(self, device: torch.device) -> Tensor:
        """What each dimension counts in a code, ``[bits, 1]``."""
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
    """Codes ``int32 [batch, 1, frames]`` to ``[batch, bits, frames]``, in floating point, which
    holds so small integers: the runtime has no bitwise operators for them everywhere."""

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
    """Mean entropy of a frame's choice of a code, less the entropy of the mean choice, in nats.

    A frame chooses each of all codes by a softmax over the cosines: the first term makes it
    decided, the second makes all codes used (arXiv 2406.07548, equations 12 to 14). The bits of
    such a choice are independent of each other, so its entropy is the sum of theirs. The mean over
    frames has bits that do depend on each other; but each choice is the product of one among the
    codes of its first bits and one among those of the rest, and the mean of such products is one
    product of two small matrices. Both are exact.

    Args:
        vectors: on the unit sphere, ``[vectors, bits]``.
    """
    bits = vectors.shape[1]
    logits = 4 * SHARPNESS * bits**-0.5 * vectors  # of each bit being 1
    decided = (F.softplus(logits) - logits * logits.sigmoid()).sum(1).mean()
    first, rest = logits.split([bits - bits // 2, bits // 2], dim=1)
    mean = _choices(first).T @ _choices(rest) / len(vectors)
    return decided + (mean * mean.clamp(min=1e-12).log()).sum()


def _choices(logits: Tensor) -> Tensor:
    """Probabilities ``[vectors, 2^bits]`` of all bit patterns, of ``logits [vectors, bits]``."""
    bits = logits.shape[1]
    pattern = torch.arange(2**bits, device=logits.device)
    ones = (pattern >> torch.arange(bits, device=logits.device)[:, None] & 1).to(logits.dtype)
    return (F.logsigmoid(logits) @ ones + F.logsigmoid(-logits) @ (1 - ones)).exp()
