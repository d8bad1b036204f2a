"""Codebook health: a start from data, a count of what is used, and revival of what is not."""

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from chirrup.lab.nn import set_weight
from chirrup.lab.quantizers.ema import EMALevel
from chirrup.lab.quantizers.rvq import Level
from chirrup.lab.quantizers.simvq import SimVQLevel
from chirrup.lab.training.distributed import add_up

KMEANS_ROUNDS = 10


class Quantizer(Protocol):
    """What the health of codebooks needs to know.

    Attributes:
        levels: those with entries that learn, each a `Level`. Binary codes have none.
    """

    codebook_size: int
    levels: nn.ModuleList


def levels_of(quantizer: Quantizer) -> list[Level]:
    return [cast(Level, level) for level in quantizer.levels]


def entries_apart(model: nn.Module, levels: list[Level]) -> list[list[str]]:
    """Names of all parameters but the entries, or SimVQ's maps that make them; then of these.

    They learn at a rate of their own. Decay, which knows nothing of the vectors, would draw
    entries to zero, and through a map all of them together: they have none.
    """
    entries = [level.codebook for level in levels if isinstance(level.codebook, nn.Parameter)]
    simvq = [level for level in levels if isinstance(level, SimVQLevel)]
    entries += [parameter for level in simvq for parameter in (level.weight, level.bias)]
    chosen = {id(parameter) for parameter in entries}
    groups: list[list[str]] = [[], []]
    for name, parameter in model.named_parameters():
        groups[id(parameter) in chosen].append(name)
    return groups


@torch.no_grad()
def initialise(quantizer: Quantizer, latents: Tensor, seed: int) -> list[float]:
    """Start every level from data: ``latents [vectors, dim]`` of an autoencoder.

    The main directions of a level's residual, orthonormal, are its projection in, their transpose
    its projection out; k-means by the level's own search gives the entries, and SimVQ's fixed ones
    are stretched. Not whitened: late levels would divide by tiny deviations and explode. With
    projections by chance each level adds to what it is to take away. A level that does not project
    has its entries in the latent space as it is.

    Returns:
        Share of the variance left after each level.

    Raises:
        ValueError: fewer vectors than entries.
    """
    levels = levels_of(quantizer)
    if any(level.starts_from_data for level in levels) and len(latents) < quantizer.codebook_size:
        raise ValueError(
            f"{len(latents)} vectors cannot start {quantizer.codebook_size} entries: raise "
            "codes.initialise_batches"
        )
    generator = torch.Generator(latents.device).manual_seed(seed)
    residual, variance, left = latents, latents.var(0).sum(), []
    for level in levels:
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
        if isinstance(level, SimVQLevel):
            level.stretch(projected.std(0))
        else:
            place_by_k_means(level, projected, generator)
        entries = level.entries()[level.search(projected.T[None])[0]]
        residual = residual - entries @ directions.T - mean
        left.append(float(residual.var(0).sum() / variance))
    return left


def place_by_k_means(level: Level, vectors: Tensor, generator: torch.Generator) -> None:
    """Put the entries where ``vectors [vectors, code_dim]`` are."""
    size = len(level.codebook)
    pick = torch.randperm(len(vectors), generator=generator, device=vectors.device)[:size]
    every = torch.arange(size, device=vectors.device)
    level.place(every, vectors[pick])
    for _ in range(KMEANS_ROUNDS):
        count, total = chosen(level.search(vectors.T[None])[0], vectors, size)
        means = total / count.clamp(min=1)[:, None]
        level.place(every, torch.where(count[:, None] > 0, means, level.codebook))


def chosen(codes: Tensor, vectors: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many ``vectors [vectors, dim]`` chose each entry, ``[size]``, and their sums."""
    count = torch.bincount(codes, minlength=size).to(vectors.dtype)
    return count, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, codes, vectors)


@torch.no_grad()
def follow(quantizer: Quantizer, codes: Tensor, projected: Tensor) -> None:
    """Let the entries that follow averages take in a step, of all processes.

    Args:
        codes: ``int64 [batch, codebooks, frames]``.
        projected: ``[codebooks, batch * frames, code_dim]``, as `Quantized.projected`.
    """
    levels = levels_of(quantizer)
    if not any(isinstance(level, EMALevel) for level in levels):
        return
    rows = zip(codes.transpose(0, 1).flatten(1), projected, strict=True)
    found = [chosen(row, vectors, quantizer.codebook_size) for row, vectors in rows]
    counts, sums = (add_up(torch.stack(part)) for part in zip(*found, strict=True))
    for level, count, total in zip(levels, counts, sums, strict=True):
        cast(EMALevel, level).follow(count, total)


class Usage(nn.Module):
    """Running share of each entry, ``[codebooks, codebook_size]``.

    Args:
        decay: of a step; by default the mean is over some hundred steps, and over more, in
            proportion, of more than 1024 entries.
        from_data: entries start from data and are revived. Then their shares are alike at first,
            so that nothing is taken for dead before it had its chance, and sum to 1 a codebook.
            Else they are what was counted, and sum to less at first.
    """

    share: Tensor

    def __init__(
        self,
        codebooks: int,
        codebook_size: int,
        decay: float | None = None,
        *,
        from_data: bool = True,
    ) -> None:
        super().__init__()
        self.decay = 1 - 0.01 * min(1, 1024 / codebook_size) if decay is None else decay
        first = 1 / codebook_size if from_data else 0.0
        self.register_buffer("share", torch.full((codebooks, codebook_size), first))

    def update(self, counts: Tensor) -> None:
        """Take in how often each entry was used in a step, already summed over all processes."""
        share = counts / counts.sum(1, keepdim=True)
        self.share.lerp_(share, 1 - self.decay)

    def perplexity(self) -> Tensor:
        """Exponential of the entropy, ``[codebooks]``: their size when all are used alike."""
        share = self.of_all()
        return torch.exp(-(share * (share + 1e-12).log()).sum(1))

    def used(self) -> Tensor:
        """Share of the entries in use at all, ``[codebooks]``: above a twentieth of the average."""
        return (self.of_all() > 0.05 / self.share.shape[1]).float().mean(1)

    def of_all(self) -> Tensor:
        """Shares that sum to 1 a codebook."""
        return self.share / self.share.sum(1, keepdim=True).clamp(min=1e-12)

    def figures(self) -> dict[str, float]:
        """Of every codebook, by name: perplexity, its logarithm, which is the entropy of a code in
        bits, and share of entries in use."""
        perplexity, figures = self.perplexity(), {}
        for name, values in (
            ("perplexity", perplexity),
            ("entropy_bits", perplexity.log2()),
            ("entries_used", self.used()),
        ):
            figures |= {f"{name}_{book:02}": value for book, value in enumerate(values.tolist())}
        return figures

    @torch.no_grad()
    def revive(
        self,
        quantizer: Quantizer,
        projected: Tensor,
        below: float,
        generator: torch.Generator,
    ) -> int:
        """Move every entry used less than ``below`` times the average onto a vector of the batch.

        Does nothing to levels whose entries do not start from data.

        Args:
            projected: ``[codebooks, vectors, code_dim]``, as `Quantized.projected`.

        Returns:
            How many entries were moved.
        """
        moved = 0
        for index, level in enumerate(levels_of(quantizer)):
            if not level.starts_from_data:
                continue
            dead = (self.share[index] * self.share.shape[1] < below).nonzero()[:, 0]
            vectors = projected[index]
            pick = torch.randint(len(vectors), (len(dead),), generator=generator)
            level.place(dead, vectors[pick.to(vectors.device)])
            self.share[index, dead] = 1 / self.share.shape[1]
            self.share[index] /= self.share[index].sum()
            moved += len(dead)
        return moved


def counts(codes: Tensor, codebook_size: int) -> Tensor:
    """How often each entry is in ``int64 [batch, codebooks, frames]``: ``[codebooks, size]``."""
    flat = codes.transpose(0, 1).flatten(1)
    hits = torch.zeros(len(flat), codebook_size, device=codes.device)
    return hits.scatter_add_(1, flat, torch.ones_like(flat, dtype=hits.dtype))
