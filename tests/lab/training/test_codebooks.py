"""Initialisation of codebooks, usage statistics, and revival of unused entries."""

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer
from chirrup.lab.training import codebooks
from chirrup.lab.training.codebooks import Usage, counts, initialise

DIM, LEVELS, SIZE, CODE_DIM = 16, 6, 64, 4


def quantizer() -> ResidualVectorQuantizer:
    torch.manual_seed(0)
    return ResidualVectorQuantizer(DIM, LEVELS, SIZE, CODE_DIM)


def latents() -> Tensor:
    """Return vectors with a mean, and with variances that fall like those in latents."""
    generator = torch.Generator().manual_seed(1)
    mixed = torch.randn(2000, DIM, generator=generator) * 0.7 ** torch.arange(DIM)
    rotation = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator))[0]
    return mixed @ rotation + torch.randn(DIM, generator=generator)


@torch.no_grad()
def variance_left(model: ResidualVectorQuantizer, vectors: Tensor) -> list[float]:
    """Return the share of the variance that remains after 1, 2, ... levels."""
    codes = model.encode(vectors.T[None])
    rest = [vectors - model.decode(codes[:, : n + 1])[0].T for n in range(LEVELS)]
    return [float(residual.var(0).sum() / vectors.var(0).sum()) for residual in rest]


def test_initialise_leaves_less_after_every_level() -> None:
    model, vectors = quantizer(), latents()
    by_chance = variance_left(model, vectors)
    left = initialise(model, vectors, seed=0)
    assert all(after < before for before, after in zip([1.0, *left], left, strict=False))
    assert left[-1] < 0.05
    assert left[-1] < 0.1 * by_chance[-1]
    assert_close(torch.tensor(variance_left(model, vectors)), torch.tensor(left), atol=0.01, rtol=0)


def test_k_means_beats_entries_drawn_from_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    left = initialise(quantizer(), latents(), seed=0)
    monkeypatch.setattr("chirrup.lab.quantizers.level.KMEANS_ROUNDS", 0)
    drawn = initialise(quantizer(), latents(), seed=0)
    assert left[0] < drawn[0]
    assert left[-1] < 0.8 * drawn[-1]


def test_initialise_is_reproducible_and_trainable() -> None:
    first, second = quantizer(), quantizer()
    assert initialise(first, latents(), seed=3) == initialise(second, latents(), seed=3)
    result = first(latents()[:50].T[None].contiguous(), torch.tensor([LEVELS]))
    (result.codebook + result.commitment + result.latent.square().mean()).backward()
    assert all(parameter.grad is not None for parameter in first.parameters())


def test_revival_moves_dead_entries_only() -> None:
    model = quantizer()
    before = copy.deepcopy(model)
    usage = Usage(LEVELS, SIZE)
    usage.share[2, 7] = usage.share[2, 9] = 0.01 / SIZE
    usage.share[4, 0] = 0.0
    projected = torch.randn(LEVELS, 50, CODE_DIM)
    moved = usage.revive(model, projected, 0.05, torch.Generator().manual_seed(0))
    assert moved == 3
    dead = {(2, 7), (2, 9), (4, 0)}
    for index in range(LEVELS):
        new, old = model.trained_levels[index].codebook, before.trained_levels[index].codebook
        for entry in range(SIZE):
            if (index, entry) in dead:
                assert (projected[index] == new[entry]).all(1).any()
                assert usage.share[index, entry] == pytest.approx(1 / SIZE)
            else:
                assert torch.equal(new[entry], old[entry])
    assert usage.revive(model, projected, 0.05, torch.Generator().manual_seed(0)) == 0


def test_no_vector_revives_two_entries() -> None:
    model, usage = quantizer(), Usage(LEVELS, SIZE)
    usage.share[2, :60] = 0.0
    old = model.trained_levels[2].codebook.detach().clone()
    projected = torch.randn(LEVELS, 50, CODE_DIM)
    assert usage.revive(model, projected, 0.05, torch.Generator().manual_seed(0)) == 50
    new = model.trained_levels[2].codebook.detach()
    assert len(new[:50].unique(dim=0)) == 50
    assert torch.equal(new[50:], old[50:])
    assert usage.revive(model, projected, 0.05, torch.Generator().manual_seed(0)) == 10


def test_counts_are_those_of_a_slow_loop() -> None:
    codes = torch.randint(SIZE, (3, LEVELS, 40), generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(LEVELS, SIZE)
    for row in codes:
        for index in range(LEVELS):
            for code in row[index]:
                expected[index, code] += 1
    assert torch.equal(counts(codes, SIZE), expected)


def test_usage_follows_the_counts() -> None:
    usage = Usage(1, 4, decay=0.5)
    usage.update(torch.tensor([[8.0, 0.0, 0.0, 0.0]]))
    assert usage.share.tolist() == [[0.625, 0.125, 0.125, 0.125]]
    usage.update(torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    assert usage.share.tolist() == [[0.3125, 0.5625, 0.0625, 0.0625]]


def test_perplexity_and_share_of_entries_in_use() -> None:
    usage = Usage(2, SIZE)
    usage.share[1] = 0.0
    usage.share[1, 5] = 1.0
    assert_close(usage.perplexity(), torch.tensor([float(SIZE), 1.0]), rtol=1e-4, atol=1e-4)
    assert_close(usage.used(), torch.tensor([1.0, 1 / SIZE]))


def test_a_binary_book_is_counted_from_nothing_over_many_steps() -> None:
    """No entry is revived, so no entry needs a share before its first use."""
    usage = Usage(1, 65_536, from_data=False)
    assert usage.perplexity().isfinite().all()
    assert usage.decay == pytest.approx(1 - 0.01 / 64)
    assert Usage(1, 1024).decay == Usage(1, 16).decay == 0.99
    codes = torch.arange(1000)[None, None]
    for _ in range(3):
        usage.update(counts(codes, 65_536))
    assert_close(usage.perplexity(), torch.tensor([1000.0]), rtol=1e-3, atol=0)
    assert_close(usage.used(), torch.tensor([1000 / 65_536]))
    assert usage.figures()["entropy_bits_00"] == pytest.approx(9.966, abs=0.01)
    quantizer = BinarySphericalQuantizer(16)
    nothing = torch.zeros(1, 10, 16)
    assert usage.revive(quantizer, nothing, 0.5, torch.Generator()) == 0
    assert initialise(quantizer, torch.zeros(10, 16), 0) == []
    codebooks.ema_update(quantizer, torch.zeros(1, 1, 10).long(), nothing)
