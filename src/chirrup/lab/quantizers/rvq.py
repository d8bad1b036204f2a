"""Residual vector quantizer (RVQ) with factorised codebooks, as in DAC (arXiv 2306.06546).

Each level projects the residual to a few dimensions, takes the nearest codebook entry and projects
it back; the next level quantizes the remaining residual. The kind of level depends on the model:

| level | codebook | model |
|---|---|---|
| `level.Level` | trained by gradients, cosine similarity | IRIS |
| `ema.EMALevel`, `ema.PlainEMALevel` | moving averages | LRAC baselines, SpectroStream |
| `simvq.SimVQLevel` | fixed vectors behind a linear map | TQCodec |
"""

from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.residual_quantizer import Levels, residual_quantizer
from chirrup.lab.nn import set_weight
from chirrup.lab.quantizers.level import Level
from chirrup.lab.quantizers.quantizer import Quantized, Quantizer
from chirrup.lab.quantizers.search import FoldedLookup, FoldedSearch, PlainLookup, PlainSearch


class ResidualVectorQuantizer(Quantizer):
    """A quantizer of ``codebooks`` levels, of which the first ones can be used alone.

    With ``codebook_size`` 1024, each level adds 10 bits per frame.

    Args:
        dim: channels of the latent.
        codebooks: number of levels.
        codebook_size: number of entries of each level.
        code_dim: dimensions of an entry.
        level: class of the levels.
        count_folded: whether `macs_per_frame` by default counts output projections as folded into
            lookup tables, also in the encoder, as the model's paper does.
        detach_residual: whether the residual of the next level is detached from this level's
            output, so that a level is trained by its own losses and the decoder's only. Levels
            without projections always detach it.
        sum_losses: whether the losses are summed over the levels in use, as in DAC's code, instead
            of averaged.
    """

    def __init__(
        self,
        dim: int,
        codebooks: int,
        codebook_size: int,
        code_dim: int,
        level: type[Level] = Level,
        *,
        count_folded: bool = False,
        detach_residual: bool = False,
        sum_losses: bool = False,
    ) -> None:
        super().__init__(codebook_size)
        self.count_folded, self.detach_residual = count_folded, detach_residual
        self.sum_losses = sum_losses
        self.levels = nn.ModuleList(level(dim, codebook_size, code_dim) for _ in range(codebooks))
        self.fast = False

    @property
    def trained_levels(self) -> list[Level]:
        return [cast(Level, level) for level in self.levels]

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        counts = torch.ones_like(used) if committed is None else committed
        levels = self.trained_levels
        if self.fast and levels[0].projects and fast.runs_on(latent):
            return self._fast_form(latent, used, counts)
        # Without projections, an output has the gradient of its residual, so the next residual
        # would have the gradient zero. The straight-through step then spans all levels at once.
        projects = levels[0].projects
        detached = self.detach_residual or not projects
        residual, quantized = latent, torch.zeros_like(latent)
        codes, projections = [], []
        commitment = codebook = latent.new_zeros(())
        for index, level in enumerate(levels):
            projected = level.project_in(residual)
            code = level.search(projected.detach())
            entry = level.entry(code)
            weight = (index < used).to(latent.dtype) / self._share(used)
            distance = ((projected - entry.detach()) ** 2).mean((1, 2))
            commitment = commitment + distance @ (weight * counts)
            codebook = codebook + ((projected.detach() - entry) ** 2).mean((1, 2)) @ weight
            output = level.project_out(projected + (entry - projected).detach())
            quantized = quantized + output * (index < used)[:, None, None]
            residual = residual - (output.detach() if detached else output)
            codes.append(code)
            projections.append(projected.detach().transpose(1, 2).flatten(0, 1))
        if not projects:
            quantized = latent + (quantized - latent).detach()
        return Quantized(
            latent=quantized,
            codes=torch.stack(codes, dim=1),
            commitment=commitment / latent.shape[0],
            codebook=codebook / latent.shape[0],
            projected=torch.stack(projections),
        )

    def _fast_form(self, latent: Tensor, used: Tensor, counts: Tensor) -> Quantized:
        mask = (torch.arange(len(self.levels))[:, None] < used).to(latent.dtype)
        found = residual_quantizer(latent, self._stacked(), mask, self.detach_residual)
        weights = mask / self._share(used)
        return Quantized(
            latent=found.latent,
            codes=found.codes,
            commitment=(found.commitment * weights * counts).sum() / latent.shape[0],
            codebook=(found.codebook * weights).sum() / latent.shape[0],
            projected=found.projected,
        )

    def _share(self, used: Tensor) -> Tensor:
        """Return the divisor of a level's losses for each row."""
        return torch.ones_like(used) if self.sum_losses else used

    def _stacked(self) -> Levels:
        levels, stack = self.trained_levels, torch.stack
        with torch.no_grad():
            tables = [level.search_matrix() for level in levels]
            offsets = [
                weight.new_zeros(weight.shape[1]) if offset is None else offset
                for weight, offset in tables
            ]
            table = stack([weight.T for weight, _ in tables])
        return Levels(
            stack([level.project_in.weight[:, :, 0] for level in levels]),
            stack([cast(Tensor, level.project_in.bias) for level in levels]),
            stack([level.project_out.weight[:, :, 0] for level in levels]),
            stack([cast(Tensor, level.project_out.bias) for level in levels]),
            stack([level.entries() for level in levels]),
            table,
            stack(offsets),
        )

    def encode(self, latent: Tensor) -> Tensor:
        codes = []
        for level in self.trained_levels:
            code = level.search(level.project_in(latent))
            latent = latent - level.project_out(level.entry(code))
            codes.append(code)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        tables = self.lookup_tables()
        latent = tables.new_zeros(codes.shape[0], codes.shape[2], tables.shape[2])
        for index in range(codes.shape[1]):
            code = codes[:, index]
            present = (code >= 0)[:, :, None]
            latent = latent + torch.where(present, tables[index][code.clamp(min=0)], 0.0)
        return latent.transpose(1, 2)

    def lookup_tables(self) -> Tensor:
        """Return the projected entries, ``[codebooks, codebook_size, dim]``, for decoding."""
        return torch.stack(
            [
                level.project_out(level.entries()[:, :, None])[:, :, 0]
                for level in self.trained_levels
            ]
        )

    def macs_per_frame(self, folded: bool | None = None) -> int:
        folded = self.count_folded if folded is None else folded
        macs = sum(level.codebook.numel() for level in self.trained_levels)
        for level in self.trained_levels:
            if level.projects:
                macs += level.project_in.weight.numel()
                macs += 0 if folded else level.project_out.weight.numel()
        return macs

    def exported(self) -> tuple[nn.Module, nn.Module]:
        levels = self.trained_levels
        if levels[0].projects:
            return FoldedSearch(levels), FoldedLookup(levels)
        return PlainSearch(levels), PlainLookup(levels)

    @torch.no_grad()
    def initialise(self, latents: Tensor, generator: torch.Generator) -> list[float]:
        """Initialise every level from the residuals of the levels before it.

        The input projection of a level is the orthonormal basis of its residual's principal
        components, and the output projection is the transpose. `Level.fit` sets the entries. The
        components are not whitened, because late levels would divide by tiny standard deviations.
        Random projections would make a level increase the residual.
        """
        residual, variance, left = latents, latents.var(0).sum(), []
        for level in self.trained_levels:
            code_dim = level.codebook.shape[1]
            mean = residual.mean(0) if level.projects else torch.zeros_like(residual[0])
            directions = torch.eye(code_dim, device=latents.device)
            if level.projects:
                directions = torch.linalg.eigh(torch.cov(residual.T))[1].flip(1)[:, :code_dim]
                set_weight(level.project_in, directions.T[:, :, None].contiguous())
                cast(Tensor, level.project_in.bias).copy_(-(directions.T @ mean))
                set_weight(level.project_out, directions[:, :, None].contiguous())
                cast(Tensor, level.project_out.bias).copy_(mean)
            projected = (residual - mean) @ directions
            level.fit(projected, generator)
            entries = level.entries()[level.search(projected.T[None])[0]]
            residual = residual - entries @ directions.T - mean
            left.append(float(residual.var(0).sum() / variance))
        return left
