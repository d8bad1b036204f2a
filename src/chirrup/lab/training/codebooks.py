"""Codebook health: a start from data, a count of what is used, and revival of what is not."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer

KMEANS_ROUNDS = 10


@torch.no_grad()
def initialise(quantizer: ResidualVectorQuantizer, latents: Tensor, seed: int) -> list[float]:
    """Start every level from data: ``latents [vectors, dim]`` of an autoencoder.

    The main directions of a level's residual, orthonormal, are its projection in, their transpose
    its projection out; k-means by cosine similarity gives the entries. Not whitened: late levels
    would divide by tiny deviations and explode.

    Returns:
        Share of the variance left after each level.

    Raises:
        ValueError: fewer vectors than entries.
    """
    if len(latents) < quantizer.codebook_size:
        raise ValueError(
            f"{len(latents)} vectors cannot start {quantizer.codebook_size} entries: raise "
            "codes.initialise_batches"
        )
    generator = torch.Generator(latents.device).manual_seed(seed)
    residual, variance, left = latents, latents.var(0).sum(), []
    for index in range(len(quantizer.levels)):
        level = quantizer.level(index)
        size, code_dim = level.codebook.shape
        mean = residual.mean(0)
        directions = torch.linalg.eigh(torch.cov(residual.T))[1].flip(1)[:, :code_dim]
        level.project_in.weight = directions.T[:, :, None].contiguous()
        cast(Tensor, level.project_in.bias).copy_(-(directions.T @ mean))
        level.project_out.weight = directions[:, :, None].contiguous()
        cast(Tensor, level.project_out.bias).copy_(mean)
        projected = (residual - mean) @ directions
        pick = torch.randperm(len(projected), generator=generator, device=latents.device)[:size]
        entries = projected[pick].clone()
        for _ in range(KMEANS_ROUNDS):
            nearest = (projected @ F.normalize(entries, dim=1).T).argmax(1)
            count = torch.zeros(size, device=latents.device).index_add_(
                0, nearest, torch.ones_like(nearest, dtype=torch.float)
            )
            total = torch.zeros_like(entries).index_add_(0, nearest, projected)
            entries = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], entries)
        level.codebook.copy_(entries)
        nearest = (projected @ F.normalize(entries, dim=1).T).argmax(1)
        residual = residual - entries[nearest] @ directions.T - mean
        left.append(float(residual.var(0).sum() / variance))
    return left


class Usage(nn.Module):
    """Running share of each entry, ``[codebooks, codebook_size]``; sums to 1 a codebook."""

    share: Tensor

    def __init__(self, codebooks: int, codebook_size: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("share", torch.full((codebooks, codebook_size), 1 / codebook_size))

    def update(self, counts: Tensor) -> None:
        """Take in how often each entry was used in a step, already summed over all processes."""
        share = counts / counts.sum(1, keepdim=True)
        self.share.lerp_(share, 1 - self.decay)

    def perplexity(self) -> Tensor:
        """Exponential of the entropy, ``[codebooks]``: their size when all are used alike."""
        return torch.exp(-(self.share * (self.share + 1e-12).log()).sum(1))

    def used(self) -> Tensor:
        """Share of the entries in use at all, ``[codebooks]``: above a twentieth of the average."""
        return (self.share > 0.05 / self.share.shape[1]).float().mean(1)

    def figures(self) -> dict[str, float]:
        """Perplexity and share of entries in use of every codebook, by name."""
        figures = {}
        for name, values in (("perplexity", self.perplexity()), ("entries_used", self.used())):
            figures |= {f"{name}_{book:02}": value for book, value in enumerate(values.tolist())}
        return figures

    @torch.no_grad()
    def revive(
        self,
        quantizer: ResidualVectorQuantizer,
        projected: Tensor,
        below: float,
        generator: torch.Generator,
    ) -> int:
        """Move every entry used less than ``below`` times the average onto a vector of the batch.

        Args:
            projected: ``[codebooks, vectors, code_dim]``, as `Quantized.projected`.

        Returns:
            How many entries were moved.
        """
        moved = 0
        for index in range(len(quantizer.levels)):
            dead = (self.share[index] * self.share.shape[1] < below).nonzero()[:, 0]
            vectors = projected[index]
            pick = torch.randint(len(vectors), (len(dead),), generator=generator)
            quantizer.level(index).codebook[dead] = vectors[pick.to(vectors.device)]
            self.share[index, dead] = 1 / self.share.shape[1]
            self.share[index] /= self.share[index].sum()
            moved += len(dead)
        return moved


def counts(codes: Tensor, codebook_size: int) -> Tensor:
    """How often each entry is in ``int64 [batch, codebooks, frames]``: ``[codebooks, size]``."""
    flat = codes.transpose(0, 1).flatten(1)
    hits = torch.zeros(len(flat), codebook_size, device=codes.device)
    return hits.scatter_add_(1, flat, torch.ones_like(flat, dtype=hits.dtype))
