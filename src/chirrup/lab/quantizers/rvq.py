"""Residual vector quantizer with factorised codebooks.

Each level projects the residual to a few dimensions, takes the nearest codebook entry, projects it
back and leaves the rest to the next level. `Level` is DAC's (IRIS, section 5): L2-normalised
entries that gradients move; `ema.EMALevel` is that of LRAC's baselines, `simvq.SimVQLevel` that of
TQCodec.
"""

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

ABSENT = -1
"""The code of a codebook that was dropped for a lower bitrate, or of a lost frame."""


@dataclass(frozen=True)
class Quantized:
    """What a quantizer returns in training.

    Attributes:
        latent: quantized latent, straight-through to the input, ``[batch, dim, frames]``.
        codes: ``int64 [batch, codebooks, frames]``, all levels, also those not used in ``latent``.
        commitment: pulls the encoder to the entries, scalar, mean over the levels in use.
        codebook: pulls the entries to the encoder, scalar, likewise.
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


class Level(nn.Module):
    """One codebook with its projections in and out, searched by cosine similarity.

    Attributes:
        starts_from_data: whether entries are put where data is: all of them before they are first
            used, later those that nothing chooses.
        projects: whether residuals are projected to be searched, and entries back; without, both
            projections are none and the codebook is as wide as the latent.
    """

    codebook: Tensor
    starts_from_data: ClassVar[bool] = True
    projects: ClassVar[bool] = True

    def __init__(self, dim: int, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.project_in = cast(nn.Conv1d, weight_norm(nn.Conv1d(dim, code_dim, 1)))
        self.project_out = cast(nn.Conv1d, weight_norm(nn.Conv1d(code_dim, dim, 1)))
        self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))

    def table(self) -> tuple[Tensor, Tensor | None]:
        """What the search multiplies by and adds, ``[code_dim, entries]`` and ``[entries]``."""
        return F.normalize(self.entries(), dim=1).T, None

    def entries(self) -> Tensor:
        """``[codebook_size, code_dim]``."""
        return self.codebook

    def search(self, projected: Tensor) -> Tensor:
        """Best entry of each vector: ``[batch, code_dim, frames] -> [batch, frames]``."""
        weight, offset = self.table()
        scores = projected.transpose(1, 2) @ weight
        return (scores if offset is None else scores + offset).argmax(dim=2)

    @torch.no_grad()
    def place(self, which: Tensor, entries: Tensor) -> None:
        """Set the entries numbered ``which`` to ``[entries, code_dim]``."""
        self.codebook[which] = entries

    def entry(self, codes: Tensor) -> Tensor:
        """``[batch, frames] -> [batch, code_dim, frames]``."""
        return F.embedding(codes, self.entries()).transpose(1, 2)


class ResidualVectorQuantizer(nn.Module):
    """``codebooks`` levels; any number of the first ones can be used.

    Bitrate at ``codebook_size`` 1024 is 10 bits a level and frame.
    """

    def __init__(
        self,
        dim: int,
        codebooks: int,
        codebook_size: int,
        code_dim: int,
        level: type[Level] = Level,
    ) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.levels = nn.ModuleList(level(dim, codebook_size, code_dim) for _ in range(codebooks))

    def level(self, index: int) -> Level:
        return cast(Level, self.levels[index])

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize for training.

        Args:
            latent: ``[batch, dim, frames]``.
            used: how many levels each batch row uses, ``int64 [batch]``, 1 to all.
            committed: rows whose commitment counts, ``bool [batch]``; the others add nothing to
                the mean over the batch. None is all.
        """
        counts = torch.ones_like(used) if committed is None else committed
        residual, quantized = latent, torch.zeros_like(latent)
        codes, projections = [], []
        commitment = codebook = latent.new_zeros(())
        for index in range(len(self.levels)):
            level = self.level(index)
            projected = level.project_in(residual)
            code = level.search(projected.detach())
            entry = level.entry(code)
            weight = (index < used).to(latent.dtype) / used
            distance = ((projected - entry.detach()) ** 2).mean((1, 2))
            commitment = commitment + distance @ (weight * counts)
            codebook = codebook + ((projected.detach() - entry) ** 2).mean((1, 2)) @ weight
            output = level.project_out(projected + (entry - projected).detach())
            quantized = quantized + output * (index < used)[:, None, None]
            residual = residual - output
            codes.append(code)
            projections.append(projected.detach().transpose(1, 2).flatten(0, 1))
        return Quantized(
            latent=quantized,
            codes=torch.stack(codes, dim=1),
            commitment=commitment / latent.shape[0],
            codebook=codebook / latent.shape[0],
            projected=torch.stack(projections),
        )

    def bypassed(self, latent: Tensor) -> Tensor:
        """What a decoder gets of a latent that is not quantized: itself."""
        return latent

    def encode(self, latent: Tensor) -> Tensor:
        """``[batch, dim, frames]`` to codes of all levels, ``int64 [batch, codebooks, frames]``."""
        codes = []
        for index in range(len(self.levels)):
            level = self.level(index)
            code = level.search(level.project_in(latent))
            latent = latent - level.project_out(level.entry(code))
            codes.append(code)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``int64 [batch, levels, frames]``, levels at most all, to ``[batch, dim, frames]``.

        An absent code (-1) adds nothing; a frame whose codes are all absent is zero.
        """
        tables = self.tables()
        latent = tables.new_zeros(codes.shape[0], codes.shape[2], tables.shape[2])
        for index in range(codes.shape[1]):
            code = codes[:, index]
            present = (code >= 0)[:, :, None]
            latent = latent + torch.where(present, tables[index][code.clamp(min=0)], 0.0)
        return latent.transpose(1, 2)

    def tables(self) -> Tensor:
        """Entries projected back, ``[codebooks, codebook_size, dim]``: what a decoder looks up."""
        return torch.stack(
            [
                self.level(index).project_out(self.level(index).entries()[:, :, None])[:, :, 0]
                for index in range(len(self.levels))
            ]
        )
