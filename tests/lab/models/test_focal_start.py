"""The initialisation of FocalCodec-Stream: all layers keep the variance of the input."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.models.focalcodec import FocalCodec
from small_focal import CONFIG


def speech() -> Tensor:
    """Return noise with changing level and spectrum, ``[4, 1, samples]``."""
    generator = torch.Generator().manual_seed(7)
    white = torch.randn(4, 1, 320 * 80, generator=generator)
    slow = torch.rand(4, 1, 20, generator=generator).repeat_interleave(320 * 4, dim=2)
    dull = torch.nn.functional.avg_pool1d(white, 9, 1, 4)
    return 0.3 * slow * (slow.roll(7, 2) * white + 3 * dull)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spectra": True, "chunk_codes": True, "code_refiners": 2, "voice_bands": 40, "dim": 64},
    ],
)
@torch.no_grad()
def test_initialised_layers_keep_the_variance(changes: dict[str, int]) -> None:
    torch.manual_seed(0)
    model = FocalCodec(replace(CONFIG, focal_blocks=3, **changes)).eval()
    model.start(speech())
    x = model.features.offline(speech())
    for part in (model.compressor, model.decompressor):
        for layer in part.layers:
            x = layer.offline(x)
            assert 0.4 < float(x.std(dim=(0, 2)).square().mean().sqrt()) < 1.6
        if part is model.compressor:
            x = model.quantizer.decode(model.quantizer.encode(x))
    audio = model.decoder.offline(model.quantizer.decode(torch.zeros(1, 1, 40, dtype=torch.long)))
    assert 0.1 < float(audio.std() / speech().std()) < 10


@torch.no_grad()
def test_features_of_spectra_begin_as_their_main_directions() -> None:
    torch.manual_seed(0)
    model = FocalCodec(replace(CONFIG, spectra=True, dim=64)).eval()
    model.start(speech())
    spectra = model.features.layers[0].offline(speech())
    rows = spectra.transpose(1, 2).flatten(0, 1)
    assert_close(rows.mean(0), torch.zeros(388), rtol=0, atol=1e-3)
    assert_close(rows.std(0), torch.ones(388), rtol=0, atol=1e-2)
    features = model.features.offline(speech()).transpose(1, 2).flatten(0, 1)
    covariance = torch.cov(features.T)
    variances = covariance.diagonal()
    assert bool((variances.diff() < 1e-3).all()), "the largest first"
    correlation = covariance / (variances[:, None] * variances).sqrt()
    assert float((correlation - torch.eye(64)).abs().max()) < 0.02
    whole = torch.linalg.eigvalsh(torch.cov(rows.T)).flip(0)[:64]
    ratio = variances / whole.sqrt().minimum(whole.square())
    assert whole[0] > 1 > whole[-1], "both kinds"
    assert_close(ratio, ratio.mean().expand(64), rtol=0, atol=0.02 * float(ratio.mean()))
