"""Search and lookup of a residual vector quantizer for exported graphs.

The projections are folded into constants.
"""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.nn.program import Operation, Part, Value
from chirrup.lab.quantizers.level import Level


class FoldedSearch(nn.Module):
    """Residual search in the projected spaces.

    One product projects the latent for all levels. The chosen entry of level j is then subtracted
    from the projections of each later level k: project_in_k(project_out_j(entry)) is a small matrix
    product, so the residual itself is never computed.
    """

    def __init__(self, levels: list[Level]) -> None:
        super().__init__()
        inward = [level.project_in.weight[:, :, 0] for level in levels]
        self.register_buffer("project", torch.cat(inward).T.contiguous())
        bias = torch.cat([cast(Tensor, level.project_in.bias) for level in levels])
        for index, level in enumerate(levels):
            weight, offset = level.search_matrix()
            self.register_buffer(f"weight_{index}", weight.contiguous())
            self.register_buffer(f"offset_{index}", offset)
            if inward[index + 1 :]:
                later = torch.cat(inward[index + 1 :]).T
                outward, constant = level.project_out.weight[:, :, 0], level.project_out.bias
                bias[-later.shape[1] :] -= cast(Tensor, constant) @ later
                self.register_buffer(f"entries_{index}", level.entries().clone())
                self.register_buffer(f"share_{index}", outward.T @ later)
        self.register_buffer("bias", bias)
        self.levels, self.code_dim = len(levels), levels[0].codebook.shape[1]

    def emit(self, part: Part, x: Value) -> None:
        """Add the search to a program of the native engine; the codes are the part's output."""

        def every(name: str, count: int) -> np.ndarray:
            tables = [self.get_buffer(f"{name}_{index}").numpy().ravel() for index in range(count)]
            return np.concatenate(tables) if tables else np.zeros(0, np.float32)

        size = self.get_buffer("weight_0").shape[1]
        offsets = np.zeros((self.levels, size), np.float32)
        for index in range(self.levels):
            offset = getattr(self, f"offset_{index}")
            if offset is not None:
                offsets[index] = offset.numpy()
        project, bias = self.get_buffer("project").numpy(), self.get_buffer("bias").numpy()
        rest = part.conv(x, project.T[:, :, None], bias)
        tables = every("weight", self.levels), offsets
        later = every("entries", self.levels - 1), every("share", self.levels - 1)
        weights = [*tables, *later]
        numbers = [self.levels, self.code_dim, size]
        part.add(Operation("search", rest, numbers=numbers, weights=weights))

    def forward(self, latent: Tensor) -> Tensor:
        rest = latent.transpose(1, 2) @ self.get_buffer("project") + self.get_buffer("bias")
        codes = []
        for index in range(self.levels):
            projected, rest = rest[:, :, : self.code_dim], rest[:, :, self.code_dim :]
            scores = projected @ self.get_buffer(f"weight_{index}")
            offset = getattr(self, f"offset_{index}")
            code = (scores if offset is None else scores + offset).argmax(dim=2)
            codes.append(code.int())
            if index + 1 < self.levels:
                entry = F.embedding(code, self.get_buffer(f"entries_{index}"))
                rest = rest - entry @ self.get_buffer(f"share_{index}")
        return torch.stack(codes, dim=1)


class FoldedLookup(nn.Module):
    """Codes to latents: concatenate the entries of all levels, then apply one matrix product."""

    def __init__(self, levels: list[Level]) -> None:
        super().__init__()
        size, code_dim = levels[0].codebook.shape
        absent = torch.zeros(1, code_dim)
        table = torch.cat([torch.cat([level.entries(), absent]) for level in levels])
        self.register_buffer("table", table)
        self.register_buffer(
            "offset", torch.arange(len(levels), dtype=torch.int32)[:, None] * (size + 1)
        )
        outward = [level.project_out.weight[:, :, 0] for level in levels]
        self.register_buffer("project", torch.cat(outward, dim=1).T.contiguous())
        self.register_buffer(
            "bias", torch.stack([cast(Tensor, a.project_out.bias) for a in levels])
        )
        self.size = size

    def emit(self, part: Part) -> Value:
        """Add the lookup to a program of the native engine; the codes are the part's input.

        The value has the entries of all levels, and then a one for each code that is present, which
        the product multiplies by the level's bias.
        """
        levels, dim = len(self.get_buffer("bias")), self.get_buffer("table").shape[1]
        table = self.get_buffer("table").numpy().reshape(levels, self.size + 1, dim)[:, : self.size]
        y = part.value(1, levels * dim + levels)
        numbers, weights = [levels, dim, self.size], [table]
        part.add(Operation("lookup", y=y, numbers=numbers, weights=weights))
        project, bias = self.get_buffer("project").numpy(), self.get_buffer("bias").numpy()
        return part.conv(y, np.concatenate([project, bias]).T[:, :, None], None)

    def forward(self, codes: Tensor) -> Tensor:
        present = codes >= 0
        index = torch.where(present, codes, self.size) + self.get_buffer("offset")
        entries = F.embedding(index.transpose(1, 2), self.get_buffer("table")).flatten(2)
        bias = present.transpose(1, 2).float() @ self.get_buffer("bias")
        return (entries @ self.get_buffer("project") + bias).transpose(1, 2)


class PlainSearch(nn.Module):
    """Residual search in the latent space, for levels without projections."""

    def __init__(self, levels: list[Level]) -> None:
        super().__init__()
        self.register_buffer("table", torch.cat([level.entries() for level in levels]))
        for index, level in enumerate(levels):
            weight, offset = level.search_matrix()
            self.register_buffer(f"weight_{index}", weight.contiguous())
            self.register_buffer(f"offset_{index}", offset)
        self.levels, self.size = len(levels), levels[0].codebook.shape[0]

    def forward(self, latent: Tensor) -> Tensor:
        rest, codes = latent.transpose(1, 2), []
        for index in range(self.levels):
            scores = rest @ self.get_buffer(f"weight_{index}")
            offset = getattr(self, f"offset_{index}")
            code = (scores if offset is None else scores + offset).argmax(dim=2).int()
            codes.append(code)
            if index + 1 < self.levels:
                rest = rest - F.embedding(code + index * self.size, self.get_buffer("table"))
        return torch.stack(codes, dim=1)


class PlainLookup(nn.Module):
    """Codes to latents: the sum of the entries. `PlainSearch` has an equal table."""

    def __init__(self, levels: list[Level]) -> None:
        super().__init__()
        self.register_buffer("table", torch.cat([level.entries() for level in levels]))
        size = levels[0].codebook.shape[0]
        self.register_buffer("offset", torch.arange(len(levels), dtype=torch.int32)[:, None] * size)

    def forward(self, codes: Tensor) -> Tensor:
        index = codes.clamp(min=0) + self.get_buffer("offset")
        entries = F.embedding(index.transpose(1, 2), self.get_buffer("table"))
        return (entries * (codes >= 0).transpose(1, 2)[..., None]).sum(2).transpose(1, 2)
