"""Codebooks whose entries follow moving averages instead of gradients (LRAC's baselines)."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from chirrup.lab.quantizers.level import Level

DECAY = 0.99
"""Of a step; slower where steps are so small that an entry would be an average of too few."""
VECTORS = 25
"""That an entry averages at least."""
SMOOTHING = 1e-5
"""Laplace's, of the counts that sums are divided by."""


class EMALevel(Level):
    """A codebook searched by Euclidean distance; projections without weight norm.

    Attributes:
        codebook: ``[codebook_size, code_dim]``, a buffer: no optimiser moves it.
        counts: moving average of how many vectors of a step chose each entry.
        sums: moving average of their sums, ``[codebook_size, code_dim]``.
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
    """The same in the full space: nothing is projected (SpectroStream)."""

    projects: ClassVar[bool] = False

    def __init__(self, dim: int, codebook_size: int, code_dim: int) -> None:
        if dim != code_dim:
            raise ValueError(f"without projections codes have {dim} dimensions, not {code_dim}")
        super().__init__(dim, codebook_size, code_dim)
        # Nobody asks for the weights of a level that does not project.
        self.project_in = cast(nn.Conv1d, nn.Identity())
        self.project_out = cast(nn.Conv1d, nn.Identity())
