"""Binary spherical quantization: tokens, bits, gradients; and the same in graphs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirrup.lab.folding import Bits, Signs
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer

ONE = torch.ones(1, dtype=torch.long)


@pytest.mark.parametrize("bits", [1, 2, 11, 12, 16])
def test_every_code_comes_back(bits: int) -> None:
    quantizer = BinarySphericalQuantizer(bits)
    codes = torch.arange(2**bits)[None, None]
    entries = quantizer.decode(codes)
    assert entries.shape == (1, bits, 2**bits)
    torch.testing.assert_close(entries.norm(dim=1), torch.ones(1, 2**bits))
    assert torch.equal(quantizer.encode(entries), codes)
    assert torch.equal(Signs(quantizer)(entries), codes.int())
    assert torch.equal(Bits(quantizer)(codes.int()), entries)


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
    for entries in (quantizer.decode(codes), Bits(quantizer)(codes.int())):
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
