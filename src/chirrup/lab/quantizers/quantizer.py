"""The interface of all quantizers: `Quantizer` turns latents into codes and back.

Training, audit and export use a quantizer through this interface only: its cost, the initialisation
of its codebooks, its trained levels and its exported form.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from chirrup.lab.quantizers.level import Level


@dataclass(frozen=True)
class Quantized:
    """Result of a quantizer in training.

    Attributes:
        latent: quantized latent, ``[batch, dim, frames]``, with a straight-through gradient.
        codes: codes of all levels, also of unused ones, ``int64 [batch, codebooks, frames]``.
        commitment: commitment loss, a scalar, mean over the levels in use. Its gradient pulls the
            encoder's output to the entries.
        codebook: codebook loss, a scalar, mean over the levels in use. Its gradient pulls the
            entries to the encoder's output.
        projected: input of each level's search, ``[codebooks, batch * frames, code_dim]``.
        others: further losses of this quantizer, by their names in a recipe.
    """

    latent: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor
    projected: Tensor
    others: dict[str, Tensor] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, Tensor]:
        """All losses, by the names of their weights in a recipe."""
        return {"commitment": self.commitment, "codebook": self.codebook} | self.others


class Quantizer(nn.Module):
    """Base of all quantizers.

    Attributes:
        codebook_size: number of entries of each codebook.
        binary_codes: whether a code is the signs of the latent's dimensions, see
            `bsq.BinarySphericalQuantizer`. ``model.json`` states it, because such a quantizer has
            no table of entries.
    """

    binary_codes = False

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        self.codebook_size = codebook_size

    @property
    def trained_levels(self) -> list[Level]:
        """Levels with trained entries; an empty list if a formula gives the entries."""
        return []

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize for training.

        Args:
            latent: ``[batch, dim, frames]``.
            used: number of codebooks that each row uses, ``int64 [batch]``, from 1 to all.
            committed: rows that count in the commitment loss, ``bool [batch]``; the other rows
                add zero to the mean over the batch. None is all.
        """
        raise NotImplementedError

    def encode(self, latent: Tensor) -> Tensor:
        """Encode latents ``[batch, dim, frames]`` to codes ``int64 [batch, codebooks, frames]``."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes ``int [batch, levels, frames]`` to latents ``[batch, dim, frames]``.

        ``levels`` may be less than the number of codebooks. An absent code, -1, adds nothing; a
        frame whose codes are all absent is zero.
        """
        raise NotImplementedError

    def bypassed(self, latent: Tensor) -> Tensor:
        """Return the decoder's input for a latent that bypasses the quantizer."""
        return latent

    def macs_per_frame(self, folded: bool | None = None) -> int:
        """Return the multiply-accumulates per frame: projections and search of all codebooks.

        Args:
            folded: whether output projections cost nothing, because entries can be stored
                projected. None counts like the model's paper.
        """
        raise NotImplementedError

    def exported(self) -> tuple[nn.Module, nn.Module]:
        """Return search and lookup for the exported graphs.

        Returns:
            A module from latents ``[batch, dim, frames]`` to codes ``int32 [batch, codebooks,
            frames]``, and a module from codes, which may be absent (-1), to latents.
        """
        raise NotImplementedError

    def fold(self) -> None:
        """Replace parameters that determine the entries by constant entries, in place."""
        for level in self.trained_levels:
            level.fold()

    @torch.no_grad()
    def initialise(self, latents: Tensor, generator: torch.Generator) -> list[float]:
        """Initialise the codebooks from latents of an autoencoder, ``[vectors, dim]``.

        Returns:
            Share of the variance that remains after each codebook; an empty list if all entries
            are fixed.
        """
        return []
