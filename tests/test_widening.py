"""The embedding of a trained IRIS model in a wider one."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

import small_model
from benchmark_scripts import scripts  # noqa: F401
from chirrup.lab.models.iris import Iris


@pytest.fixture(params=["expanding", "plain"])
def pair(request: pytest.FixtureRequest) -> tuple[Iris, Iris]:
    """A small model, and a model with more channels and groups that embeds it."""
    units = {"encoder_units": request.param}
    with small_model.reproducible(1), torch.no_grad():
        old = Iris(replace(small_model.CONFIG, **units)).eval()
        old.start(speech())
        wider = {"encoder_dim": 32, "encoder_groups": 8, "latent_dim": 40, "decoder_dim": 64}
        new = Iris(replace(small_model.CONFIG, decoder_hidden_dim=72, **wider, **units)).eval()
        import_module("widening").widen(old, new)
    return old, new


def speech() -> torch.Tensor:
    clips = [small_model.speech_like(24_000, seed) for seed in range(4)]
    return torch.from_numpy(np.stack(clips))[:, None]


@torch.no_grad()
def test_a_wider_model_starts_with_the_same_codes_and_similar_audio(
    pair: tuple[Iris, Iris],
) -> None:
    old, new = pair
    latent, wide = (model.encoder.offline(speech()) for model in pair)
    torch.testing.assert_close(wide[:, : latent.shape[1]], latent, atol=1e-4, rtol=1e-4)
    used = torch.full((len(latent),), old.codebooks)
    coded, same = old.quantizer(latent, used), new.quantizer(wide, used)
    assert (coded.codes == same.codes).float().mean() > 0.999
    audio, similar = old.decoder.offline(coded.latent), new.decoder.offline(same.latent)
    assert (audio - similar).square().mean() < 0.05 * audio.square().mean()
    for name, value in new.state_dict().items():
        if name.endswith(("conv.weight", "original1")):
            rows = value.flatten(1)
            assert len(rows.unique(dim=0)) == len(rows), f"{name} has equal channels"
