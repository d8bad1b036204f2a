"""The fast form of a residual vector quantizer against the plain one in double precision."""

import copy

import pytest
import torch
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.quantizers.ema import EMALevel, PlainEMALevel
from chirrup.lab.quantizers.rvq import Level, ResidualVectorQuantizer
from chirrup.lab.quantizers.simvq import SimVQLevel
from fast_forms import relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def run(
    quantizer: ResidualVectorQuantizer, latent: Tensor, used: Tensor, committed: Tensor | None
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return values, codes, and gradients of latent and parameters."""
    latent = latent.clone().requires_grad_()
    result = quantizer(latent, used, committed)
    torch.manual_seed(1)
    direction = torch.randn(latent.shape).to(latent)
    total = (result.latent * direction).sum() + 3 * result.commitment + 5 * result.codebook
    values = [result.latent, result.commitment, result.codebook, result.projected]
    gradients = torch.autograd.grad(
        total, [latent, *quantizer.parameters()], allow_unused=True, materialize_grads=True
    )
    return values, list(gradients), result.codes


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("kind", [Level, EMALevel, SimVQLevel])
@pytest.mark.parametrize(
    ("batch", "channels", "frames", "codebooks", "size", "code_dim"),
    [(2, 128, 45, 5, 512, 8), (3, 10, 1, 2, 6, 3), (4, 36, 33, 4, 1024, 24)],
)
def test_equals_plain(
    kind: type[Level],
    batch: int,
    channels: int,
    frames: int,
    codebooks: int,
    size: int,
    code_dim: int,
    detach: bool,
) -> None:
    torch.manual_seed(frames)
    quantizer = ResidualVectorQuantizer(
        channels, codebooks, size, code_dim, kind, detach_residual=detach
    )
    quick = copy.deepcopy(quantizer)
    fast.enable(quick)
    assert quick.fast
    latent = torch.randn(batch, channels, frames)
    used = torch.randint(1, codebooks + 1, (batch,))
    committed = torch.arange(batch) % 2 == 0
    values, gradients, codes = run(quick, latent, used, committed)
    expected, right, true_codes = run(quantizer.double(), latent.double(), used, committed)
    assert torch.equal(codes, true_codes)
    assert max(map(relative_error, values, expected)) < 1e-5
    for found, reference in zip(gradients, right, strict=True):
        assert float((found - reference).norm()) <= 1e-5 * float(reference.norm())


def test_first_of_equal_entries_wins() -> None:
    quantizer = ResidualVectorQuantizer(4, 1, 40, 2)
    with torch.no_grad():
        quantizer.trained_levels[0].codebook[:] = quantizer.trained_levels[0].codebook[0].clone()
    fast.enable(quantizer)
    assert not quantizer(torch.randn(1, 4, 50), torch.ones(1, dtype=torch.long)).codes.any()


def test_without_projections_stays_plain() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(6, 2, 16, 6, PlainEMALevel)
    quick = copy.deepcopy(quantizer)
    fast.enable(quick)
    latent, used = torch.randn(2, 6, 9), torch.tensor([1, 2])
    assert torch.equal(quick(latent, used).latent, quantizer(latent, used).latent)
