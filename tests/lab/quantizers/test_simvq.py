"""Residual SimVQ equals slow, plain versions of its formulas."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.codes import ABSENT
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer
from chirrup.lab.quantizers.simvq import SimVQLevel
from chirrup.lab.training import codebooks

DIM, LEVELS, SIZE, CODE_DIM = 12, 5, 32, 4


def quantizer(seed: int = 0) -> ResidualVectorQuantizer:
    """Return a quantizer with random maps, in double precision to avoid ties by rounding."""
    torch.manual_seed(seed)
    made = ResidualVectorQuantizer(DIM, LEVELS, SIZE, CODE_DIM, SimVQLevel).double()
    with torch.no_grad():
        for index in range(LEVELS):
            level = simvq(made, index)
            level.weight.add_(0.5 * torch.randn_like(level.weight))
            level.bias.add_(0.2 * torch.randn_like(level.bias))
    return made


def simvq(of: ResidualVectorQuantizer, index: int) -> SimVQLevel:
    level = of.trained_levels[index]
    assert isinstance(level, SimVQLevel)
    return level


def latents(batch: int = 3, frames: int = 7, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, DIM, frames, generator=generator, dtype=torch.double)


def test_table_is_fixed_and_of_the_papers_spread() -> None:
    level = SimVQLevel(64, 4096, 16)
    assert "codebook" in dict(level.named_buffers())
    assert {name for name, _ in level.named_parameters() if "project" not in name} == {
        "weight",
        "bias",
    }
    assert float(level.codebook.std()) == pytest.approx(16**-0.5, rel=0.02)
    assert torch.equal(level.entries(), level.codebook), "the map begins as none"
    assert "codebook" in level.state_dict(), "or a checkpoint could not be read"


@torch.no_grad()
def test_search_takes_the_nearest_entry() -> None:
    level = simvq(quantizer(), 0)
    entries = torch.stack([level.weight @ vector + level.bias for vector in level.codebook])
    assert_close(level.entries(), entries)
    projected = torch.randn(2, CODE_DIM, 9, dtype=torch.double)
    found = level.search(projected)
    for row in range(2):
        for frame in range(9):
            distances = [float((projected[row, :, frame] - entry).norm()) for entry in entries]
            assert distances[found[row, frame]] == min(distances)
    assert len(found.unique()) > 5


def test_each_loss_reaches_only_its_side() -> None:
    """The codebook loss moves the maps; commitment and reconstruction losses move the latent.

    No loss moves the fixed vectors.
    """
    made, used = quantizer(), torch.full((3,), LEVELS)
    x = latents().requires_grad_()
    result = made(x, used)
    maps = [
        value
        for index in range(LEVELS)
        for value in (simvq(made, index).weight, simvq(made, index).bias)
    ]

    def gradients(value: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(value, [x, *maps], retain_graph=True, allow_unused=True)

    for loss in (result.latent.sum(), result.commitment):
        to_latent, *to_maps = gradients(loss)
        assert to_latent is not None
        assert to_latent.any()
        assert to_maps == [None] * len(maps)
    to_latent, *to_maps = gradients(result.codebook)
    assert to_latent is None
    assert all(gradient is not None and gradient.any() for gradient in to_maps)
    assert_close(result.codebook, result.commitment)


def test_one_step_moves_entries_that_nothing_chose() -> None:
    made = quantizer()
    level = simvq(made, 0)
    before = level.entries().detach().clone()
    result = made(latents(batch=1, frames=2), torch.tensor([1]))
    result.codebook.backward()
    with torch.no_grad():
        for parameter in (level.weight, level.bias):
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    moved = (level.entries() - before).abs().amax(1) > 1e-6
    assert len(result.codes[0, 0].unique()) <= 2
    assert moved.all()


@torch.no_grad()
def test_any_number_of_codebooks_decodes() -> None:
    made, x = quantizer(), latents()
    codes = made.encode(x)
    errors = []
    for count in range(1, LEVELS + 1):
        expected = made(x, torch.full((3,), count)).latent
        assert_close(made.decode(codes[:, :count]), expected)
        dropped = codes.clone()
        dropped[:, count:] = ABSENT
        assert_close(made.decode(dropped), expected)
        errors.append(float((expected - x).square().mean()))
    assert len(set(errors)) == LEVELS


@torch.no_grad()
def test_folding_leaves_a_plain_table() -> None:
    made, x = quantizer(), latents()
    tables, codes = made.lookup_tables(), made.encode(x)
    for index in range(LEVELS):
        level = simvq(made, index)
        level.fold()
        assert torch.equal(level.entries(), level.codebook)
    assert_close(made.lookup_tables(), tables)
    assert torch.equal(made.encode(x), codes)

    made = made.float()
    search, lookup = made.exported()
    assert torch.equal(search(x.float()).long(), made.encode(x.float()))
    codes[1, 3:] = ABSENT
    codes[2, :, 4] = ABSENT
    assert_close(lookup(codes.int()), made.decode(codes), rtol=1e-4, atol=1e-5)


def scattered() -> Tensor:
    """Return vectors with a mean and different variances, ``[vectors, DIM]``."""
    generator = torch.Generator().manual_seed(1)
    spread = 0.7 ** torch.arange(DIM, dtype=torch.double)
    vectors = torch.randn(3000, DIM, generator=generator, dtype=torch.double) * spread
    return vectors + torch.randn(DIM, generator=generator, dtype=torch.double)


def left(made: ResidualVectorQuantizer, vectors: Tensor) -> list[float]:
    """Return the share of the variance that remains after 1, 2, ... levels."""
    codes = made.encode(vectors.T[None])
    rest = [vectors - made.decode(codes[:, : n + 1])[0].T for n in range(LEVELS)]
    return [float(residual.var(0).sum() / vectors.var(0).sum()) for residual in rest]


@torch.no_grad()
def test_projections_start_from_data_and_the_table_is_stretched() -> None:
    """Random projections increase the residual; the fixed vectors do not change."""
    made, vectors = quantizer(), scattered()
    tables = [made.trained_levels[index].codebook.clone() for index in range(LEVELS)]
    by_chance = left(made, vectors)
    given = codebooks.initialise(made, vectors, seed=0)
    assert given == sorted(given, reverse=True)
    assert_close(torch.tensor(left(made, vectors)), torch.tensor(given), atol=1e-6, rtol=0)
    assert given[-1] < 0.1 < 1 < by_chance[-1]
    rest = vectors.T[None]
    for index, table in enumerate(tables):
        level = simvq(made, index)
        assert torch.equal(level.codebook, table)
        inward = level.project_in.weight[:, :, 0]
        assert_close(inward @ inward.T, torch.eye(CODE_DIM, dtype=torch.double))
        assert_close(level.project_out.weight[:, :, 0], inward.T)
        projected = level.project_in(rest)
        assert_close(level.weight, torch.diag(projected[0].std(1) * CODE_DIM**0.5))
        assert not level.bias.any()
        rest = rest - level.project_out(level.entry(level.search(projected)))


def test_a_few_vectors_are_enough_to_start() -> None:
    """No entry is set to a vector, and no entry is revived."""
    made = quantizer()
    assert len(codebooks.initialise(made, scattered()[: SIZE // 2], seed=0)) == LEVELS
    before = {name: value.clone() for name, value in made.state_dict().items()}
    usage = codebooks.Usage(LEVELS, SIZE)
    usage.share.zero_()
    usage.share[:, 0] = 1
    projected = torch.randn(LEVELS, 10, CODE_DIM)
    assert usage.revive(made, projected, 0.05, torch.Generator()) == 0
    assert float(usage.share[:, 0].min()) == 1
    after = made.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with pytest.raises(TypeError, match="all move together"):
        made.trained_levels[0].set_entries(torch.tensor([0]), torch.zeros(1, CODE_DIM))
