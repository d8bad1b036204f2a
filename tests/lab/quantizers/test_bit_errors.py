"""Wrong bits in training: what they add to the latent is what the decoder gets from wrong codes."""

from copy import deepcopy

import pytest
import torch
from torch.testing import assert_close

from chirrup.errors import ModelError
from chirrup.lab.quantizers.bit_errors import BitErrors
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer
from chirrup.lab.quantizers.ema import PlainEMALevel
from chirrup.lab.quantizers.pseudo_gray import order_codebooks
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer
from chirrup.lab.training.batches.code_dropout import CodeDropout
from chirrup.lab.training.config import CodesConfig, LossWeights, Stage
from chirrup.lab.training.forward import Forward
from small_model import FRAME, small_iris


def test_the_error_is_that_of_an_export_in_pseudo_gray_order() -> None:
    model = deepcopy(small_iris()).double()
    quantizer = model.quantizer
    quantizer.fold()
    latent = torch.randn(2, 32, 9, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    used = torch.tensor([4, 2])
    quantized = quantizer(latent, used)
    flips = torch.randint(0, 256, (2, 4, 9), generator=torch.Generator().manual_seed(1))
    flips[:, :, 0] = 0
    error = BitErrors(quantizer).error(quantized, used, flips)
    assert torch.equal(error[:, :, 0], torch.zeros_like(error[:, :, 0]))
    order_codebooks(quantizer)
    codes = quantizer.encode(latent)
    for row, count in enumerate(used.tolist()):
        sent = codes[row : row + 1, :count]
        received = quantizer.decode(sent ^ flips[row : row + 1, :count])
        assert_close(error[row : row + 1], received - quantizer.decode(sent))


def test_levels_without_projections_have_bit_errors_too() -> None:
    """They have no parameters either."""
    quantizer = ResidualVectorQuantizer(8, 2, 16, 8, PlainEMALevel)
    for level in quantizer.trained_levels:
        level.set_entries(torch.arange(16), torch.randn(16, 8))
    codes = quantizer(torch.randn(1, 8, 5), torch.tensor([2]))
    flips = torch.ones(1, 2, 5, dtype=torch.long)
    error = BitErrors(quantizer).error(codes, torch.tensor([2]), flips)
    assert (error.abs().amax(1) > 0).all()


def test_a_step_decodes_wrong_codes_and_trains_with_them() -> None:
    model = deepcopy(small_iris()).requires_grad_()
    forward = Forward(CodesConfig(bit_errors=1), model)
    stage = Stage(name="codec", steps=1, weights=LossWeights())
    audio = 0.1 * torch.randn(2, 1, 10 * FRAME, generator=torch.Generator().manual_seed(0))
    plain = CodeDropout(torch.tensor([4, 4]), torch.zeros(2).bool(), torch.ones(2, 10).bool())
    flips = torch.zeros(2, 4, 10, dtype=torch.long)
    flips[1, 0, 3] = 1
    with_errors = CodeDropout(plain.used, plain.bypass, plain.present, flips)
    clean = forward(audio, stage, plain).audio
    received = forward(audio, stage, with_errors).audio
    assert clean is not None
    assert received is not None
    assert_close(received[0], clean[0])
    assert_close(received[1, :, : 3 * FRAME], clean[1, :, : 3 * FRAME])
    assert (received[1] - clean[1]).abs().max() > 1e-4
    received.square().mean().backward()
    assert next(model.encoder.parameters()).grad is not None


def test_a_resumed_run_keeps_the_order() -> None:
    """The entries have changed in the meantime."""
    model, codes = deepcopy(small_iris()), CodesConfig(bit_errors=1)
    flips = torch.ones(1, 4, 10, dtype=torch.long)
    dropout = CodeDropout(torch.tensor([4]), torch.zeros(1).bool(), torch.ones(1, 10).bool(), flips)
    whole, parts = Forward(codes, model), Forward(codes, model)
    assert whole.state() == {}
    assert whole.error(dropout) is not None
    for level in model.quantizer.trained_levels:
        level.codebook.copy_(torch.randn_like(level.codebook))
    parts.restore(whole.state())
    quantized = model.quantizer(torch.randn(1, 32, 10), dropout.used)
    first, second = whole.error(dropout), parts.error(dropout)
    assert first is not None
    assert second is not None
    assert torch.equal(first(quantized), second(quantized))
    with pytest.raises(ModelError, match="no order of these codebooks"):
        parts.restore({"order": torch.zeros(4, 256, dtype=torch.long)})


def test_a_quantizer_without_trained_codebooks() -> None:
    with pytest.raises(ModelError, match=r"no trained codebooks: set codes.bit_errors to 0"):
        BitErrors(BinarySphericalQuantizer(4))
