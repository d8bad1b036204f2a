"""Codebooks that are exponential moving averages (EMA) of the encoder's vectors.

The method comes from VQ-VAE (arXiv 1711.00937, appendix A.1). The LRAC baselines and SpectroStream
use it.
"""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from chirrup.lab.quantizers.level import Level

DECAY = 0.99
"""Decay of the averages per step. It is slower if a step has too few vectors; see `VECTORS`."""
VECTORS = 25
"""An entry averages at least this many vectors."""
SMOOTHING = 1e-5
"""Constant of the Laplace smoothing of the counts that divide the sums."""


class EMALevel(Level):
    """An EMA codebook, searched by Euclidean distance; its projections have no weight norm.

    Attributes:
        codebook: ``[codebook_size, code_dim]``, a buffer, so no optimiser changes it.
        counts: moving average of the number of vectors per step and entry, ``[codebook_size]``.
        sums: moving average of the sums of these vectors, ``[codebook_size, code_dim]``.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    uses_ema: ClassVar[bool] = True

    def __init__(self, dim: int, codebook_size: int, code_dim: int) -> None:
        nn.Module.__init__(self)
        self.project_in = nn.Conv1d(dim, code_dim, 1)
        self.project_out = nn.Conv1d(code_dim, dim, 1)
        self.register_buffer("codebook", torch.randn(codebook_size, code_dim))
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", self.codebook.clone())

    def search_matrix(self) -> tuple[Tensor, Tensor]:
        return self.codebook.T, -0.5 * self.codebook.square().sum(1)

    @torch.no_grad()
    def set_entries(self, which: Tensor, entries: Tensor) -> None:
        super().set_entries(which, entries)
        self.counts[which] = cast(Tensor, self.counts.mean())
        self.sums[which] = entries * self.counts[which, None]

    @torch.no_grad()
    def ema_update(self, counts: Tensor, sums: Tensor) -> None:
        rate = (counts.sum() / (VECTORS * len(counts))).clamp(max=1 - DECAY)
        self.counts.lerp_(counts, rate)
        self.sums.lerp_(sums, rate)
        total = self.counts.sum()
        smooth = (self.counts + SMOOTHING) / (total + SMOOTHING * len(self.counts)) * total
        self.codebook.copy_(self.sums / smooth[:, None])


class PlainEMALevel(EMALevel):
    """An EMA codebook in the latent space, without projections, as in SpectroStream."""

    projects: ClassVar[bool] = False

    def __init__(self, dim: int, codebook_size: int, code_dim: int) -> None:
        if dim != code_dim:
            raise ValueError(f"code_dim is {code_dim}: without projections it must be {dim}")
        super().__init__(dim, codebook_size, code_dim)
        # Callers use the projections' weights only if `projects` is true.
        self.project_in = cast(nn.Conv1d, nn.Identity())
        self.project_out = cast(nn.Conv1d, nn.Identity())
