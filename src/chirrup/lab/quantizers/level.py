"""One codebook with its projections, searched by cosine similarity (DAC, arXiv 2306.06546)."""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

KMEANS_ROUNDS = 10


class Level(nn.Module):
    """One codebook with its projections in and out, searched by cosine similarity.

    Attributes:
        codebook: ``[codebook_size, code_dim]``.
        starts_from_data: whether entries are put where data is: all of them before they are first
            used, later those that nothing chooses.
        uses_ema: whether entries are moving averages of vectors instead of being moved by
            gradients.
        projects: whether residuals are projected to be searched, and entries back; without, both
            projections are none and the codebook is as wide as the latent.
    """

    codebook: Tensor
    starts_from_data: ClassVar[bool] = True
    uses_ema: ClassVar[bool] = False
    projects: ClassVar[bool] = True

    def __init__(self, dim: int, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.project_in = cast(nn.Conv1d, weight_norm(nn.Conv1d(dim, code_dim, 1)))
        self.project_out = cast(nn.Conv1d, weight_norm(nn.Conv1d(code_dim, dim, 1)))
        self.codebook = nn.Parameter(torch.randn(codebook_size, code_dim))

    @property
    def entry_parameters(self) -> list[nn.Parameter]:
        """Parameters that move the entries, which learn at a rate of their own."""
        return [self.codebook] if isinstance(self.codebook, nn.Parameter) else []

    def search_matrix(self) -> tuple[Tensor, Tensor | None]:
        """Factors ``[code_dim, entries]`` and offsets ``[entries]`` of the search."""
        return F.normalize(self.entries(), dim=1).T, None

    def entries(self) -> Tensor:
        """``[codebook_size, code_dim]``."""
        return self.codebook

    def search(self, projected: Tensor) -> Tensor:
        """Best entry of each vector: ``[batch, code_dim, frames] -> [batch, frames]``."""
        weight, offset = self.search_matrix()
        scores = projected.transpose(1, 2) @ weight
        return (scores if offset is None else scores + offset).argmax(dim=2)

    def entry(self, codes: Tensor) -> Tensor:
        """``[batch, frames] -> [batch, code_dim, frames]``."""
        return F.embedding(codes, self.entries()).transpose(1, 2)

    @torch.no_grad()
    def set_entries(self, which: Tensor, entries: Tensor) -> None:
        """Set the entries numbered ``which`` to ``[entries, code_dim]``."""
        self.codebook[which] = entries

    @torch.no_grad()
    def fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Put the entries where ``vectors [vectors, code_dim]`` are: k-means by the own search."""
        size = len(self.codebook)
        pick = torch.randperm(len(vectors), generator=generator, device=vectors.device)[:size]
        every = torch.arange(size, device=vectors.device)
        self.set_entries(every, vectors[pick])
        for _ in range(KMEANS_ROUNDS):
            count, total = counts_and_sums(self.search(vectors.T[None])[0], vectors, size)
            means = total / count.clamp(min=1)[:, None]
            self.set_entries(every, torch.where(count[:, None] > 0, means, self.codebook))

    def ema_update(self, counts: Tensor, sums: Tensor) -> None:
        """Take in a step: vectors that chose each entry, and their sums, over all processes."""

    def fold(self) -> None:
        """Turn what makes the entries into constants, in place."""


def counts_and_sums(codes: Tensor, vectors: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many ``vectors [vectors, dim]`` chose each entry, ``[size]``, and their sums."""
    count = torch.bincount(codes, minlength=size).to(vectors.dtype)
    return count, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, codes, vectors)
