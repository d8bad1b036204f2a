"""SimVQ (arXiv 2411.02038): a codebook of fixed vectors behind one linear layer.

TQCodec (arXiv 2603.01592) uses a residual quantizer of such levels.
"""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from chirrup.lab.quantizers.level import Level


class SimVQLevel(Level):
    """A level whose entries are a trained linear map of fixed random vectors.

    An update of the map moves all entries, also unused ones, so no entry becomes dead. The search
    uses Euclidean distance.

    Attributes:
        codebook: the fixed vectors, ``[codebook_size, code_dim]``, a buffer.
        weight, bias: parameters of the linear map.
    """

    codebook: Tensor
    starts_from_data: ClassVar[bool] = False

    def __init__(self, dim: int, codebook_size: int, code_dim: int) -> None:
        nn.Module.__init__(self)
        self.project_in = cast(nn.Conv1d, weight_norm(nn.Conv1d(dim, code_dim, 1)))
        self.project_out = cast(nn.Conv1d, weight_norm(nn.Conv1d(code_dim, dim, 1)))
        self.register_buffer("codebook", code_dim**-0.5 * torch.randn(codebook_size, code_dim))
        self.weight = nn.Parameter(torch.eye(code_dim))
        self.bias = nn.Parameter(torch.zeros(code_dim))

    @property
    def entry_parameters(self) -> list[nn.Parameter]:
        return [self.weight, self.bias]

    def entries(self) -> Tensor:
        return F.linear(self.codebook, self.weight, self.bias)

    def search_matrix(self) -> tuple[Tensor, Tensor]:
        entries = self.entries()
        return entries.T, -0.5 * entries.square().sum(1)

    def set_entries(self, which: Tensor, entries: Tensor) -> None:
        raise TypeError("single entries of SimVQ cannot be set: they all move together")

    @torch.no_grad()
    def fit(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Scale the map so that the entries have the standard deviations of ``vectors``.

        The mean of the entries is zero.
        """
        deviations = vectors.std(0)
        self.weight.copy_(torch.diag(deviations * len(deviations) ** 0.5))
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def fold(self) -> None:
        """Store the entries as the codebook and reset the map to the identity, in place."""
        self.codebook.copy_(self.entries())
        nn.init.eye_(self.weight)
        nn.init.zeros_(self.bias)
