"""One level of a residual quantizer, as in DAC (arXiv 2306.06546, section 3.2)."""

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
        starts_from_data: whether entries are set from data: all of them before training, and unused
            ones during training.
        uses_ema: whether the entries are moving averages of vectors; else gradients move them.
        projects: whether residuals are projected before the search, and entries afterwards. If
            not, the codebook is as wide as the latent.
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
        """Parameters that determine the entries; they have a separate learning rate."""
        return [self.codebook] if isinstance(self.codebook, nn.Parameter) else []

    def search_matrix(self) -> tuple[Tensor, Tensor | None]:
        """Return the factors ``[code_dim, entries]`` and offsets ``[entries]`` of the search.

        The best entry has the largest ``projected @ factors + offsets``. None means no offsets.
        """
        return F.normalize(self.entries(), dim=1).T, None

    def entries(self) -> Tensor:
        """Return the entries, ``[codebook_size, code_dim]``."""
        return self.codebook

    def search(self, projected: Tensor) -> Tensor:
        """Return the code of each vector: ``[batch, code_dim, frames]`` to ``[batch, frames]``."""
        weight, offset = self.search_matrix()
        scores = projected.transpose(1, 2) @ weight
        return (scores if offset is None else scores + offset).argmax(dim=2)

    def entry(self, codes: Tensor) -> Tensor:
        """Return the entries of codes: ``[batch, frames]`` to ``[batch, code_dim, frames]``."""
        return F.embedding(codes, self.entries()).transpose(1, 2)

    @torch.no_grad()
    def set_entries(self, which: Tensor, entries: Tensor) -> None:
        """Set the entries with the indices ``which`` to ``entries [count, code_dim]``."""
        self.codebook[which] = entries

    @torch.no_grad()
    def fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Set the entries by k-means of ``vectors [count, code_dim]``, with this level's search."""
        size = len(self.codebook)
        pick = torch.randperm(len(vectors), generator=generator, device=vectors.device)[:size]
        every = torch.arange(size, device=vectors.device)
        self.set_entries(every, vectors[pick])
        for _ in range(KMEANS_ROUNDS):
            count, total = counts_and_sums(self.search(vectors.T[None])[0], vectors, size)
            means = total / count.clamp(min=1)[:, None]
            self.set_entries(every, torch.where(count[:, None] > 0, means, self.codebook))

    def ema_update(self, counts: Tensor, sums: Tensor) -> None:
        """Update the moving averages, if ``uses_ema``, with a training step of all processes.

        Args:
            counts: number of vectors that chose each entry, ``[codebook_size]``.
            sums: sums of these vectors, ``[codebook_size, code_dim]``.
        """

    def fold(self) -> None:
        """Replace parameters that determine the entries by constant entries, in place."""


def counts_and_sums(codes: Tensor, vectors: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Count the vectors of each code and add them up.

    Args:
        codes: ``int64 [count]``.
        vectors: ``[count, dim]``.
        size: number of codes.

    Returns:
        Counts ``[size]`` and sums ``[size, dim]``.
    """
    count = torch.bincount(codes, minlength=size).to(vectors.dtype)
    return count, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, codes, vectors)
