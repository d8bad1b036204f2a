"""Layers equal their formulas, and equal layers of PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from chirrup.lab.models.iris import ConvNeXtBlock
from chirrup.lab.nn import (
    ISTFT,
    STFT,
    Conv2FormerBlock,
    Delay,
    LayerNorm,
    Scale,
    Sequential,
    SnakeBeta,
    SpectralHead,
)
from rounding import same


@pytest.mark.parametrize("n_fft", [8, 60, 960])
def test_stft_and_istft_give_the_input_back(n_fft: int) -> None:
    hop = n_fft // 2
    model = Sequential(STFT(n_fft, hop), ISTFT(n_fft))
    assert model.delay == n_fft - hop
    assert model.ratio == 1
    x = torch.randn(2, 1, 7 * hop)
    same(model.offline(x)[:, :, hop:], x[:, :, :-hop])


@pytest.mark.parametrize(("n_fft", "hop"), [(16, 8), (64, 16), (960, 480)])
def test_stft_agrees_with_torch(n_fft: int, hop: int) -> None:
    model = STFT(n_fft, hop)
    x = torch.randn(2, 1, 6 * hop)
    padded = F.pad(x[:, 0], (n_fft - hop, 0))
    usual = torch.stft(padded, n_fft, hop, window=model.window, center=False, return_complex=True)
    assert usual.shape[2] == 6
    same(model.offline(x), torch.cat([usual.real, usual.imag], dim=1))


def test_istft_agrees_with_torch() -> None:
    n_fft, hop = 60, 30
    model = ISTFT(n_fft)
    spectrum = torch.randn(2, n_fft // 2 + 1, 6, dtype=torch.complex64)
    spectrum.imag[:, [0, -1]] = 0
    usual = torch.istft(spectrum, n_fft, hop, window=model.window, center=True)
    ours = model.offline(torch.cat([spectrum.real, spectrum.imag], dim=1))
    same(ours[:, 0, hop:], usual)


def test_snake_is_its_formula() -> None:
    model = SnakeBeta(3)
    nn.init.normal_(model.log_alpha)
    nn.init.normal_(model.log_beta)
    x = 3 * torch.randn(2, 3, 50)
    alpha, beta = model.log_alpha.exp(), model.log_beta.exp()
    same(model.offline(x), x + (1 / beta) * (alpha * x).sin() ** 2)


def test_layer_norm_is_its_formula() -> None:
    model = LayerNorm(5)
    nn.init.normal_(model.gain)
    nn.init.normal_(model.bias)
    x = torch.randn(2, 5, 9)
    scaled = (x - x.mean(1, True)) / (x.var(1, correction=0, keepdim=True) + model.eps).sqrt()
    same(model.offline(x), scaled * model.gain[:, None] + model.bias[:, None])


def test_scale_is_a_gain_of_each_channel() -> None:
    model = Scale(3, 0.1)
    x = torch.randn(2, 3, 9)
    same(model.offline(x), 0.1 * x)
    nn.init.normal_(model.gain)
    same(model.offline(x), torch.stack([x[:, i] * model.gain[i] for i in range(3)], dim=1))


def test_convnext_block_is_its_formula() -> None:
    model = ConvNeXtBlock(4, 6, 5)
    assert isinstance(model.block, Sequential)
    depthwise, norm, wide, _, narrow, scale = model.block.layers
    assert isinstance(scale, Scale)
    nn.init.normal_(scale.gain)
    x = torch.randn(2, 4, 9)
    y = wide.offline(norm.offline(depthwise.offline(x)))
    same(model.offline(x), x + scale.gain * narrow.offline(F.gelu(y)))
    assert wide.offline(x).shape == (2, 5, 9)


def test_conv2former_block_is_its_formula() -> None:
    """The gate is a depthwise convolution of the activated input; the MLP has two groups."""
    model = Conv2FormerBlock(4, 6, 5)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, 9)
    y = model.norm_1.offline(x)
    gate = F.conv1d(
        F.pad(F.gelu(y), (4, 0)), model.gate.conv.weight, model.gate.conv.bias, groups=4
    )
    z = x + model.scale_1 * model.project.offline(gate * y)
    halves = model.norm_2.offline(z).chunk(2, dim=1)
    wide, narrow = model.expand.conv, model.contract.conv
    assert wide.bias is not None
    assert narrow.bias is not None
    parts = []
    for half, w_1, b_1, w_2, b_2 in zip(
        halves,
        wide.weight.chunk(2),
        wide.bias.chunk(2),
        narrow.weight.chunk(2),
        narrow.bias.chunk(2),
        strict=True,
    ):
        parts.append(F.conv1d(F.gelu(F.conv1d(half, w_1, b_1)), w_2, b_2))
    same(model.offline(x), z + model.scale_2 * torch.cat(parts, dim=1))


def test_spectral_head_is_magnitude_and_phase() -> None:
    """The phase refers to the centre of the frame: a flat spectrum of phase 0 is a click there."""
    n_fft = 16
    model = SpectralHead(3, n_fft)
    nn.init.normal_(model.project.conv.weight)
    x = torch.randn(2, 3, 5)
    log_magnitude, phase = model.project.offline(x).chunk(2, dim=1)
    real, imaginary = model.offline(x).chunk(2, dim=1)
    turned = phase + torch.pi * torch.arange(n_fft // 2 + 1)[:, None]
    same(torch.complex(real, imaginary), torch.polar(log_magnitude.exp(), turned))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    real, imaginary = model.offline(x).chunk(2, dim=1)
    frame = torch.fft.irfft(torch.complex(real, imaginary)[0, :, 0], n_fft)
    same(frame, torch.eye(n_fft)[n_fft // 2])


def test_delay_puts_zeros_first() -> None:
    x = torch.randn(2, 3, 10)
    y = Delay(3, 4).offline(x)
    assert not y[:, :, :4].any()
    assert torch.equal(y[:, :, 4:], x[:, :, :-4])
    assert not Delay(3, 12).offline(x).any()
