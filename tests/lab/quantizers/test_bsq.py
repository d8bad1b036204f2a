"""Binary spherical quantization: codes, bits and gradients, and its exported modules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirrup.lab.quantizers.bsq import (
    SHARPNESS,
    BinarySphericalQuantizer,
    BSQDecode,
    BSQEncode,
    entropy_loss,
)
from chirrup.lab.training.config import LossWeights

ONE = torch.ones(1, dtype=torch.long)


@pytest.mark.parametrize("bits", [1, 2, 11, 12, 16])
def test_every_code_comes_back(bits: int) -> None:
    quantizer = BinarySphericalQuantizer(bits)
    codes = torch.arange(2**bits)[None, None]
    entries = quantizer.decode(codes)
    assert entries.shape == (1, bits, 2**bits)
    torch.testing.assert_close(entries.norm(dim=1), torch.ones(1, 2**bits))
    assert torch.equal(quantizer.encode(entries), codes)
    assert torch.equal(BSQEncode(quantizer)(entries), codes.int())
    assert torch.equal(BSQDecode(quantizer)(codes.int()), entries)


@given(st.lists(st.booleans(), min_size=1, max_size=16), st.floats(0.01, 100))
def test_first_dimension_is_the_most_significant_bit(signs: list[bool], length: float) -> None:
    quantizer = BinarySphericalQuantizer(len(signs))
    latent = length * torch.tensor([1.0 if sign else -1.0 for sign in signs])[None, :, None]
    code = int("".join("01"[sign] for sign in signs), 2)
    assert int(quantizer.encode(latent)) == code


def test_zero_is_negative() -> None:
    assert int(BinarySphericalQuantizer(4).encode(torch.tensor([0.0, 1, 0, 1])[None, :, None])) == 5


def test_absent_is_zero() -> None:
    quantizer = BinarySphericalQuantizer(16)
    codes = torch.tensor([[[-1, 65_535, -1]]])
    for entries in (quantizer.decode(codes), BSQDecode(quantizer)(codes.int())):
        assert not entries[:, :, [0, 2]].any()
        torch.testing.assert_close(entries[:, :, 1], torch.full((1, 16), 0.25))


def test_gradients_pass_by_the_signs() -> None:
    quantizer = BinarySphericalQuantizer(3)
    latent = torch.tensor([[[3.0], [-4.0], [0.0]]], requires_grad=True)
    quantized = quantizer(latent, ONE)
    torch.testing.assert_close(
        quantized.latent, torch.tensor([[[1.0], [-1.0], [-1.0]]]) / 3**0.5, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(quantized.projected, torch.tensor([[[0.6, -0.8, 0.0]]]))
    quantized.latent[0, 0, 0].backward()
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad[0, :, 0], torch.tensor([0.64, 0.48, 0.0]) / 5)
    assert float(quantized.commitment) == float(quantized.codebook) == 0


def on_the_sphere(vectors: int, bits: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(vectors, bits, generator=random), dim=1)


def entropy(p: torch.Tensor) -> torch.Tensor:
    return -(p * p.clamp(min=1e-12).log()).sum(-1)


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("scale", [1.0, 0.02], ids=["decided", "undecided"])
def test_entropies_are_those_of_all_codes_one_by_one(bits: int, scale: float) -> None:
    """The loss equals its definition, a softmax over every code, also for short vectors."""
    vectors = (scale * on_the_sphere(40, bits)).requires_grad_()
    every = BinarySphericalQuantizer(bits).decode(torch.arange(2**bits)[None, None])[0]
    choices = (2 * SHARPNESS * vectors @ every).softmax(dim=1)
    expected = entropy(choices).mean() - entropy(choices.mean(0))
    got = entropy_loss(vectors)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(x, vectors, retain_graph=True)[0] for x in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    if scale < 1 and bits > 2:
        assert entropy(choices).mean() > 0.1


def test_entropy_is_low_where_frames_are_decided_and_codes_are_all_used() -> None:
    quantizer = BinarySphericalQuantizer(8)
    every = quantizer.decode(torch.arange(256)[None, None])[0].T
    torch.testing.assert_close(float(entropy_loss(every)), -8 * 0.693147, rtol=1e-3, atol=0)
    assert float(entropy_loss(every[:1].expand(256, -1))) == pytest.approx(0, abs=1e-3)


def test_entropy_of_the_largest_book_takes_little() -> None:
    """With 65,536 codes and 3000 frames no matrix of codes by frames, 786 MB, is allocated."""
    vectors = on_the_sphere(3000, 16).requires_grad_()
    sizes: list[int] = []

    def watch(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(watch, lambda tensor: tensor):
        loss = entropy_loss(vectors)
        loss.backward()
    assert max(sizes) <= 3000 * 256
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    assert float(vectors.grad.abs().sum()) > 0


def test_training_by_entropy_alone_spreads_the_codes() -> None:
    quantizer = BinarySphericalQuantizer(6)
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(512, 12, generator=generator) + 2.0
    layer = torch.nn.Linear(12, 6)
    torch.nn.init.uniform_(layer.weight, -0.3, 0.3, generator=generator)
    torch.nn.init.constant_(layer.bias, 1.0)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)

    def used() -> int:
        return len(quantizer.encode(layer(data).T[None]).unique())

    before = used()
    for _ in range(100):
        optimiser.zero_grad()
        quantizer(layer(data).T[None], ONE).others["entropy"].backward()
        optimiser.step()
    assert used() > max(2 * before, 48)


def test_losses_by_the_names_of_their_weights() -> None:
    quantized = BinarySphericalQuantizer(5)(torch.randn(2, 5, 7), torch.ones(2).long(), None)
    assert set(quantized.losses) == {"commitment", "codebook", "entropy"}
    assert set(quantized.losses) <= set(LossWeights.model_fields)


def test_a_latent_without_quantizer_is_on_the_sphere() -> None:
    quantizer, latent = BinarySphericalQuantizer(5), 7 * torch.randn(2, 5, 3)
    passed = quantizer.bypassed(latent)
    torch.testing.assert_close(passed.norm(dim=1), torch.ones(2, 3))
    assert torch.equal(quantizer.encode(passed), quantizer.encode(latent))
