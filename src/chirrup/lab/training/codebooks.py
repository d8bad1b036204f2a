"""Codebooks in training: initialisation from data, usage statistics, revival of unused entries."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from chirrup.errors import UsageError
from chirrup.lab.models import Model
from chirrup.lab.quantizers.level import counts_and_sums
from chirrup.lab.quantizers.quantizer import Quantized, Quantizer
from chirrup.lab.training.config import CodesConfig
from chirrup.lab.training.distributed import all_gather, all_reduce, broadcast_parameters


class CodebookTrainer:
    """The codebooks of a model in training.

    Args:
        model: the trained model.
        ema: its averaged copy.
        codes: settings of the recipe.
        seed: seed of the initialisation.

    Attributes:
        usage: running frequencies of the entries.
        started: whether the codebooks are initialised; True from the beginning if they do not
            start from data.
    """

    def __init__(
        self, model: Model, ema: Model, codes: CodesConfig, seed: int, device: torch.device
    ) -> None:
        self.model, self.ema, self.codes, self.seed = model, ema, codes, seed
        from_data = bool(model.quantizer.trained_levels)
        books, size = model.codebooks, model.codebook_size
        self.usage = Usage(books, size, from_data=from_data).to(device)
        self.started = not from_data

    @torch.no_grad()
    def start(self, batches: Iterable[Tensor]) -> None:
        """Initialise the codebooks from the latents of batches, equally in every process.

        Args:
            batches: audio ``[batch, channels, samples]`` at the input rate.

        Raises:
            UsageError: there are fewer latents than entries.
        """
        self.started = True
        latents = [self.model.encoder.offline(self.model.tiled(audio)) for audio in batches]
        own = [latent.transpose(1, 2).flatten(0, 1) for latent in latents]
        vectors = all_gather(torch.cat(own))
        factor = float(1 / vectors.std())
        if self.model.scale_latents(factor):
            self.ema.scale_latents(factor)
            vectors *= factor
        initialise(self.model.quantizer, vectors, self.seed)
        broadcast_parameters(self.model)
        self.ema.quantizer.load_state_dict(self.model.quantizer.state_dict())

    def update(
        self, quantized: Quantized, step: int, generator: torch.Generator, trained: bool
    ) -> None:
        """Count the codes of a step, update entries that follow averages, revive unused ones.

        Args:
            trained: whether the quantizer is trained. Otherwise its entries stay as they are.
        """
        quantizer, codes = self.model.quantizer, quantized.codes
        self.usage.update(all_reduce(counts(codes, self.model.codebook_size)))
        if not trained:
            return
        ema_update(quantizer, codes, quantized.projected)
        if (step + 1) % self.codes.revive_every == 0:
            self.usage.revive(quantizer, quantized.projected, self.codes.revive_below, generator)
            broadcast_parameters(quantizer)
            broadcast_parameters(self.usage)


def parameter_groups(model: Model) -> list[list[str]]:
    """Split the names of parameters into two groups: codebook entries are the second one.

    The second group, which has SimVQ's maps too, gets its own learning rate and no weight decay.
    Weight decay would pull entries towards zero; through a map it would pull all of them at
    once.
    """
    levels = model.quantizer.trained_levels
    moving = {id(parameter) for level in levels for parameter in level.entry_parameters}
    groups: list[list[str]] = [[], []]
    for name, parameter in model.named_parameters():
        groups[id(parameter) in moving].append(name)
    return groups


def check_start(quantizer: Quantizer, vectors: int) -> None:
    """Check that ``vectors`` latents are enough to initialise every entry.

    Raises:
        UsageError: they are too few.
    """
    size = quantizer.codebook_size
    if any(level.starts_from_data for level in quantizer.trained_levels) and vectors < size:
        raise UsageError(
            f"{vectors} vectors cannot initialise {size} entries: raise codes.initialise_batches "
            f"to {-(-size // max(1, vectors))} times its value"
        )


def initialise(quantizer: Quantizer, latents: Tensor, seed: int) -> list[float]:
    """Initialise the codebooks from latents of an autoencoder, ``[vectors, dim]``.

    Returns:
        Share of the variance that remains after each codebook.

    Raises:
        UsageError: there are fewer vectors than entries.
    """
    check_start(quantizer, len(latents))
    return quantizer.initialise(latents, torch.Generator(latents.device).manual_seed(seed))


@torch.no_grad()
def ema_update(quantizer: Quantizer, codes: Tensor, projected: Tensor) -> None:
    """Update entries that are averages of their vectors with the vectors of all processes.

    Args:
        codes: ``int64 [batch, codebooks, frames]``.
        projected: `Quantized.projected`, ``[codebooks, batch * frames, code_dim]``.
    """
    levels = quantizer.trained_levels
    if not any(level.uses_ema for level in levels):
        return
    rows = zip(codes.transpose(0, 1).flatten(1), projected, strict=True)
    found = [counts_and_sums(row, vectors, quantizer.codebook_size) for row, vectors in rows]
    counts, sums = (all_reduce(torch.stack(part)) for part in zip(*found, strict=True))
    for level, count, total in zip(levels, counts, sums, strict=True):
        level.ema_update(count, total)


class Usage(nn.Module):
    """Running frequency of each entry, ``share [codebooks, codebook_size]``.

    Args:
        decay: decay of the running mean per step. The default averages about 100 steps for 1024
            entries or fewer, and proportionally more for larger codebooks.
        from_data: whether entries are initialised from data and revived. If so, all shares are
            equal at first, so that no entry counts as unused too early. Otherwise they start at 0
            and sum to less than 1 at first.
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
        """Add the counts of one step, summed over all processes."""
        share = counts / counts.sum(1, keepdim=True)
        self.share.lerp_(share, 1 - self.decay)

    def perplexity(self) -> Tensor:
        """Compute the exponential of the entropy, ``[codebooks]``; at most the codebook's size."""
        share = self.normalised()
        return torch.exp(-(share * (share + 1e-12).log()).sum(1))

    def used(self) -> Tensor:
        """Compute the share of entries used over a twentieth of the average, ``[codebooks]``."""
        return (self.normalised() > 0.05 / self.share.shape[1]).float().mean(1)

    def normalised(self) -> Tensor:
        """Return shares normalised to a sum of 1 in each codebook."""
        return self.share / self.share.sum(1, keepdim=True).clamp(min=1e-12)

    def figures(self) -> dict[str, float]:
        """Return perplexity, entropy in bits and share of used entries of every codebook."""
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
        """Move entries used less than ``below`` times the average to random vectors of the batch.

        Levels whose entries are not initialised from data are left unchanged. No vector is taken
        twice, so if there are fewer vectors than such entries, the next revival moves the others.

        Args:
            projected: `Quantized.projected`, ``[codebooks, vectors, code_dim]``.

        Returns:
            Number of moved entries.
        """
        moved = 0
        for index, level in enumerate(quantizer.trained_levels):
            if not level.starts_from_data:
                continue
            dead = (self.share[index] * self.share.shape[1] < below).nonzero()[:, 0]
            vectors = projected[index]
            dead = dead[: len(vectors)]
            pick = torch.randperm(len(vectors), generator=generator)[: len(dead)]
            level.set_entries(dead, vectors[pick.to(vectors.device)])
            self.share[index, dead] = 1 / self.share.shape[1]
            self.share[index] /= self.share[index].sum()
            moved += len(dead)
        return moved


def counts(codes: Tensor, codebook_size: int) -> Tensor:
    """Count each entry in ``codes [batch, codebooks, frames]``: ``[codebooks, size]``."""
    flat = codes.transpose(0, 1).flatten(1)
    hits = torch.zeros(len(flat), codebook_size, device=codes.device)
    return hits.scatter_add_(1, flat, torch.ones_like(flat, dtype=hits.dtype))
