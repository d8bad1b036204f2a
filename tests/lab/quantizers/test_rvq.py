"""The residual vector quantizer equals slow, plain versions of its formulas."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from chirrup.codes import ABSENT
from chirrup.lab.models import CONFIGS, build
from chirrup.lab.quantizers.ema import PlainEMALevel
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer

DIM, LEVELS, SIZE, CODE_DIM = 12, 5, 32, 4


@pytest.fixture(scope="module")
def quantizer() -> ResidualVectorQuantizer:
    """Return a quantizer in double precision, so that rounding does not change searches."""
    torch.manual_seed(0)
    return ResidualVectorQuantizer(DIM, LEVELS, SIZE, CODE_DIM).double()


def latents(batch: int = 3, frames: int = 7, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, DIM, frames, generator=generator, dtype=torch.double)


def every(batch: int) -> Tensor:
    return torch.full((batch,), LEVELS)


@pytest.mark.parametrize("detached", [False, True])
def test_gradient_passes_straight_through(
    quantizer: ResidualVectorQuantizer, detached: bool
) -> None:
    """The latent's gradient is the gradient of the projections alone, without the search.

    If residuals are detached, the projections of earlier levels are not part of it.
    """
    quantizer.detach_residual = detached
    used = torch.tensor([1, 3, LEVELS])
    x = latents().requires_grad_()
    toward = torch.randn_like(x)
    (quantizer(x, used).latent * toward).sum().backward()

    plain = latents().requires_grad_()
    residual, total = plain, torch.zeros_like(plain)
    for index in range(LEVELS):
        level = quantizer.trained_levels[index]
        output = level.project_out(level.project_in(residual))
        total = total + output * (index < used)[:, None, None]
        residual = residual - (output.detach() if detached else output)
    (total * toward).sum().backward()
    assert x.grad is not None
    assert plain.grad is not None
    assert x.grad.abs().max() > 0.01
    assert_close(x.grad, plain.grad)


def test_without_projections_every_levels_commitment_reaches_the_latent() -> None:
    """The gradient of the decoder passes once, whatever the number of levels."""
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(DIM, LEVELS, SIZE, DIM, PlainEMALevel).double()
    x = latents().requires_grad_()
    used = torch.tensor([1, 3, LEVELS])
    result = quantizer(x, used)
    (to_latent,) = torch.autograd.grad(result.latent.sum(), x, retain_graph=True)
    assert_close(to_latent, torch.ones_like(x))
    expected = torch.zeros_like(x)
    for row, levels in enumerate(used.tolist()):
        for count in range(1, levels + 1):
            rest = x[row] - quantizer.decode(result.codes[row : row + 1, :count])[0]
            expected[row] += 2 * rest.detach() / rest.numel() / levels / len(x)
    (to_latent,) = torch.autograd.grad(result.commitment, x)
    assert_close(to_latent, expected)
    assert_close(result.latent[2:], quantizer.decode(result.codes[2:]))


def test_only_lrac_detaches_residuals() -> None:
    """Its published code does; DAC's code, which IRIS and TQCodec follow, does not."""
    with torch.device("meta"):
        quantizers = {name: build(name).quantizer for name in CONFIGS}
    detached = {name for name, x in quantizers.items() if getattr(x, "detach_residual", False)}
    assert detached == {"lrac-t1", "lrac-t2"}


def test_each_loss_reaches_only_its_side(quantizer: ResidualVectorQuantizer) -> None:
    books = [quantizer.trained_levels[index].codebook for index in range(LEVELS)]
    x = latents().requires_grad_()
    result = quantizer(x, every(3))

    def gradients(value: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(value, [x, *books], retain_graph=True, allow_unused=True)

    to_latent, *to_books = gradients(result.latent.sum())
    assert to_latent is not None
    assert to_books == [None] * LEVELS
    to_latent, *to_books = gradients(result.commitment)
    assert to_latent is not None
    assert to_books == [None] * LEVELS
    to_latent, *to_books = gradients(result.codebook)
    assert to_latent is None
    assert all(gradient is not None and gradient.any() for gradient in to_books)


@given(st.lists(st.integers(1, LEVELS), min_size=1, max_size=4), st.integers(0, 2**32))
@settings(max_examples=25)
@torch.no_grad()
def test_encode_and_decode_agree_with_forward(used: list[int], seed: int) -> None:
    torch.manual_seed(1)
    quantizer = ResidualVectorQuantizer(DIM, LEVELS, SIZE, CODE_DIM).double()
    x = latents(len(used), seed=seed)
    result = quantizer(x, torch.tensor(used))
    codes = quantizer.encode(x)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, result.codes)
    for row, levels in enumerate(used):
        expected = result.latent[row : row + 1]
        assert_close(quantizer.decode(codes[row : row + 1, :levels]), expected)
        dropped = codes[row : row + 1].clone()
        dropped[:, levels:] = ABSENT
        assert_close(quantizer.decode(dropped), expected)


@torch.no_grad()
def test_absent_codes_add_nothing(quantizer: ResidualVectorQuantizer) -> None:
    codes = quantizer.encode(latents())
    whole = quantizer.decode(codes)
    lost = codes.clone()
    lost[1, :, 2] = ABSENT
    decoded = quantizer.decode(lost)
    assert not decoded[1, :, 2].any()
    decoded[1, :, 2] = whole[1, :, 2]
    assert torch.equal(decoded, whole)

    for level in range(LEVELS):
        dropped = codes.clone()
        dropped[0, level, 4] = ABSENT
        missing = whole - quantizer.decode(dropped)
        assert_close(missing[0, :, 4], quantizer.lookup_tables()[level, codes[0, level, 4]])
        missing[0, :, 4] = 0
        assert not missing.any()


@torch.no_grad()
@pytest.mark.parametrize("sums", [False, True])
def test_losses_are_those_of_a_slow_loop(quantizer: ResidualVectorQuantizer, sums: bool) -> None:
    """Means or sums over the levels in use."""
    quantizer.sum_losses = sums
    x, used = latents(), torch.tensor([2, 1, LEVELS])
    result = quantizer(x, used)
    rows = []
    for row in range(3):
        residual, errors = x[row : row + 1], []
        for index in range(int(used[row])):
            level = quantizer.trained_levels[index]
            projected = level.project_in(residual)
            entry = level.codebook[result.codes[row, index]].T[None]
            residual = residual - level.project_out(entry)
            squares = [
                (projected[0, channel, frame] - entry[0, channel, frame]) ** 2
                for channel in range(CODE_DIM)
                for frame in range(x.shape[2])
            ]
            errors.append(sum(squares) / len(squares))
        rows.append(sum(errors) / (1 if sums else len(errors)))
    assert_close(result.commitment, sum(rows) / 3)
    assert_close(result.codebook, sum(rows) / 3)


@torch.no_grad()
def test_search_is_by_cosine(quantizer: ResidualVectorQuantizer) -> None:
    level = quantizer.trained_levels[0]
    projected = 5 * torch.randn(2, CODE_DIM, 9, dtype=torch.double)
    found = level.search(projected)
    for row in range(2):
        for frame in range(9):
            vector = projected[row, :, frame]
            similarity = [
                float(vector @ entry / (vector.norm() * entry.norm())) for entry in level.codebook
            ]
            assert similarity[found[row, frame]] == max(similarity)


@torch.no_grad()
def test_projected_is_the_input_of_the_search(quantizer: ResidualVectorQuantizer) -> None:
    x = latents()
    result = quantizer(x, every(3))
    assert result.projected.shape == (LEVELS, 3 * 7, CODE_DIM)
    for index in range(LEVELS):
        found = quantizer.trained_levels[index].search(result.projected[index].T[None])
        assert torch.equal(found.view(3, 7), result.codes[:, index])
