"""Initialisation from data: no signal vanishes or explodes, and every layer is initialised."""

import pytest
import torch
from torch import Tensor, nn

from chirrup.lab.models.iris import Iris
from chirrup.lab.models.lrac import Lrac
from chirrup.lab.nn import (
    GRU,
    Conv1d,
    ConvTranspose1d,
    Residual,
    Sequential,
    Stateless,
    Streaming,
    fit_scales,
)
from small_lrac import CONFIG as LRAC
from small_model import CONFIG as IRIS
from small_model import speech_like


def unit(channels: int, normalise: bool) -> Residual:
    first = Conv1d(channels, channels, 3, normalise_weight=normalise)
    last = Conv1d(channels, channels, 1, normalise_weight=normalise)
    return Residual(channels, Sequential(Stateless(nn.ELU()), first, Stateless(nn.ELU()), last))


def layers(normalise: bool) -> Sequential:
    torch.manual_seed(0)
    row: list[Streaming] = [
        Conv1d(1, 8, 7, normalise_weight=normalise),
        unit(8, normalise),
        Stateless(nn.ELU()),
        Conv1d(8, 16, 8, stride=4, normalise_weight=normalise),
        Residual(16, GRU(16, 16)),
        unit(16, normalise),
        ConvTranspose1d(16, 8, 4, stride=4, normalise_weight=normalise),
        Conv1d(8, 1, 5, normalise_weight=normalise),
        Stateless(nn.Tanh()),
    ]
    return Sequential(*row)


def signal(level: float) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return level * torch.randn(4, 1, 4000, generator=generator)


def convolutions(part: nn.Module) -> list[Conv1d | ConvTranspose1d]:
    return [module for module in part.modules() if isinstance(module, Conv1d | ConvTranspose1d)]


def bias(layer: Conv1d | ConvTranspose1d) -> Tensor:
    value = layer.bias if isinstance(layer, ConvTranspose1d) else layer.conv.bias
    assert value is not None
    return value


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("level", [1e-3, 0.1, 1.0])
def test_every_layer_of_the_row_has_its_deviation(level: float, normalise: bool) -> None:
    model, x = layers(normalise), signal(level)
    for layer in convolutions(model):
        nn.init.constant_(bias(layer), 7.0)
    result = fit_scales(model, x, last_deviation=0.2)
    torch.testing.assert_close(result, model.offline(x))
    row = [layer for layer in model.layers if isinstance(layer, Conv1d | ConvTranspose1d)]
    for layer in model.layers:
        before, x = x, layer.offline(x)
        if layer in row:
            expected = 0.2 if layer is row[-1] else 0.5
            assert float(x.std().detach()) == pytest.approx(expected, rel=1e-3)
        elif isinstance(layer, Residual) and convolutions(layer):
            added = (x - before).detach()
            assert 0.01 < float(added.std() / before.detach().std()) < 0.5
    assert all(not bias(layer).any() for layer in convolutions(model))


def test_the_start_is_another_one_each_time_and_trainable() -> None:
    first, second = layers(True), layers(True)
    torch.manual_seed(1)
    fit_scales(first, signal(0.1))
    torch.manual_seed(2)
    fit_scales(second, signal(0.1))
    for one, other in zip(convolutions(first), convolutions(second)):
        assert not torch.allclose(one.conv.weight, other.conv.weight, rtol=0.1)
    first.offline(signal(0.1)).square().mean().backward()
    for name, parameter in first.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("level", [0.01, 1.0])
def test_models_start_about_as_loud_as_their_input(level: float) -> None:
    """LRAC starts at the input's level; IRIS at its mean log spectrum, which is lower."""
    speech = level * torch.stack([torch.from_numpy(speech_like(12_000, i)) for i in range(4)])
    for model, least in ((Lrac(LRAC), 0.9), (Iris(IRIS), 0.1)):
        torch.manual_seed(0)
        model.start(speech[:, None])
        with torch.no_grad():
            latent = model.encoder.offline(speech[:, None])
            sound = model.decoder.offline(latent)
        assert 0.3 < float(latent.std()) < 3
        assert least < float(sound.std() / speech.std()) < 1.1
