"""Codebook health: a start from data, a count of what is used, and revival of what is not."""

import torch
from torch import Tensor, nn

from chirrup.errors import UsageError
from chirrup.lab.quantizers.level import Level, counts_and_sums
from chirrup.lab.quantizers.quantizer import Quantizer
from chirrup.lab.training.distributed import add_up


def entries_apart(model: nn.Module, levels: list[Level]) -> list[list[str]]:
    """Names of all parameters but the entries, or SimVQ's maps that make them; then of these.

    They learn at a rate of their own. Decay, which knows nothing of the vectors, would draw
    entries to zero, and through a map all of them together: they have none.
    """
    moving = {id(parameter) for level in levels for parameter in level.entry_parameters}
    groups: list[list[str]] = [[], []]
    for name, parameter in model.named_parameters():
        groups[id(parameter) in moving].append(name)
    return groups


def check_start(quantizer: Quantizer, vectors: int) -> None:
    """Raise ModelError if so many latents are too few to start the entries of a level."""
    size = quantizer.codebook_size
    if any(level.starts_from_data for level in quantizer.trained_levels) and vectors < size:
        raise UsageError(
            f"{vectors} vectors cannot start {size} entries: raise codes.initialise_batches to "
            f"{-(-size // max(1, vectors))} times its value"
        )


def initialise(quantizer: Quantizer, latents: Tensor, seed: int) -> list[float]:
    """Start the codebooks from data: ``latents [vectors, dim]`` of an autoencoder.

    Returns:
        Share of the variance that is left after each codebook.

    Raises:
        ModelError: fewer vectors than entries.
    """
    check_start(quantizer, len(latents))
    return quantizer.initialise(latents, torch.Generator(latents.device).manual_seed(seed))


@torch.no_grad()
def ema_update(quantizer: Quantizer, codes: Tensor, projected: Tensor) -> None:
    """Let the entries that follow averages take in a step, of all processes.

    Args:
        codes: ``int64 [batch, codebooks, frames]``.
        projected: ``[codebooks, batch * frames, code_dim]``, as `Quantized.projected`.
    """
    levels = quantizer.trained_levels
    if not any(level.uses_ema for level in levels):
        return
    rows = zip(codes.transpose(0, 1).flatten(1), projected, strict=True)
    found = [counts_and_sums(row, vectors, quantizer.codebook_size) for row, vectors in rows]
    counts, sums = (add_up(torch.stack(part)) for part in zip(*found, strict=True))
    for level, count, total in zip(levels, counts, sums, strict=True):
        level.ema_update(count, total)


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
        for index, level in enumerate(quantizer.trained_levels):
            if not level.starts_from_data:
                continue
            dead = (self.share[index] * self.share.shape[1] < below).nonzero()[:, 0]
            vectors = projected[index]
            pick = torch.randint(len(vectors), (len(dead),), generator=generator)
            level.set_entries(dead, vectors[pick.to(vectors.device)])
            self.share[index, dead] = 1 / self.share.shape[1]
            self.share[index] /= self.share[index].sum()
            moved += len(dead)
        return moved


def counts(codes: Tensor, codebook_size: int) -> Tensor:
    """How often each entry is in ``int64 [batch, codebooks, frames]``: ``[codebooks, size]``."""
    flat = codes.transpose(0, 1).flatten(1)
    hits = torch.zeros(len(flat), codebook_size, device=codes.device)
    return hits.scatter_add_(1, flat, torch.ones_like(flat, dtype=hits.dtype))
