"""The interface of all quantizers: latents to codes and back, for training, counts and export.

A quantizer states what it costs, where its codebooks start, what of it moves during training, and
what becomes of it in an exported graph. Training, audit and export know nothing else about it.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from chirrup.lab.quantizers.level import Level


@dataclass(frozen=True)
class Quantized:
    """Result of a quantizer in training.

    Attributes:
        latent: quantized latent, straight-through to the input, ``[batch, dim, frames]``.
        codes: ``int64 [batch, codebooks, frames]``, all levels, also those not used in ``latent``.
        commitment: pulls the encoder to the entries, scalar, mean over the levels in use.
        codebook: pulls the entries to the encoder, scalar, mean over the levels in use.
        projected: input of each level's search, ``[codebooks, batch * frames, code_dim]``.
        others: losses of this kind of quantizer only, by the names of their weights.
    """

    latent: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor
    projected: Tensor
    others: dict[str, Tensor] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, Tensor]:
        """By the names of their weights in a recipe."""
        return {"commitment": self.commitment, "codebook": self.codebook} | self.others


class Quantizer(nn.Module):
    """Base of all quantizers.

    Attributes:
        codebook_size: number of entries of each codebook.
    """

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        self.codebook_size = codebook_size

    @property
    def trained_levels(self) -> list[Level]:
        """Codebooks with entries of their own; none if the entries follow from a formula."""
        return []

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize for training.

        Args:
            latent: ``[batch, dim, frames]``.
            used: how many codebooks each batch row uses, ``int64 [batch]``, 1 to all.
            committed: rows whose commitment counts, ``bool [batch]``; the others add nothing to
                the mean over the batch. None is all.
        """
        raise NotImplementedError

    def encode(self, latent: Tensor) -> Tensor:
        """``[batch, dim, frames]`` to all codes, ``int64 [batch, codebooks, frames]``."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``int [batch, levels, frames]``, levels at most all, to ``[batch, dim, frames]``.

        An absent code (-1) adds nothing; a frame whose codes are all absent is zero.
        """
        raise NotImplementedError

    def bypassed(self, latent: Tensor) -> Tensor:
        """The decoder's input if the latent is not quantized."""
        return latent

    def macs_per_frame(self, folded: bool | None = None) -> int:
        """Multiply-accumulates of a frame: projections and search, all codebooks.

        Args:
            folded: count no projections back, since an entry can be stored projected. None counts
                as the model's paper does.
        """
        raise NotImplementedError

    def exported(self) -> tuple[nn.Module, nn.Module]:
        """Search and lookup for a graph.

        Returns:
            A module from latents ``[batch, dim, frames]`` to codes ``int32 [batch, codebooks,
            frames]``, and one from codes, which may be absent, to latents.
        """
        raise NotImplementedError

    def fold(self) -> None:
        """Turn what makes the entries into constants, in place."""
        for level in self.trained_levels:
            level.fold()

    @torch.no_grad()
    def initialise(self, latents: Tensor, generator: torch.Generator) -> list[float]:
        """Start from the latents of an autoencoder, ``[vectors, dim]``.

        Returns:
            Share of the variance that is left after each codebook; nothing if all entries are
            fixed.
        """
        return []
