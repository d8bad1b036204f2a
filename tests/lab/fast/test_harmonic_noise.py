"""The fast form of the voice against the plain layer."""

import copy

import pytest
import torch
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.nn import HarmonicNoise
from chirrup.lab.nn.harmonic_noise import PITCHES
from fast_forms import fast_form, relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


@pytest.mark.parametrize("frames", [1, 12])
def test_equals_plain(frames: int, bf16: bool) -> None:
    """Its output is of float32 in both modes; its gradients are of the mode."""
    plain = HarmonicNoise(24_000, 480)
    torch.manual_seed(frames)
    x = torch.randn(2, plain.channels, frames)
    x[:, PITCHES:] = x[:, PITCHES:] - 3
    state = plain.initial_state(2)
    state["gains"] = torch.rand_like(state["gains"])
    weights = torch.randn(2, 1, 480 * frames)

    def run(layer: HarmonicNoise, gains: Tensor) -> list[Tensor]:
        controls = x.to(gains.dtype).requires_grad_()
        y, after = layer(controls, state | {"gains": gains.requires_grad_()})
        total = (y * weights).sum() + after["overlap"].square().sum()
        return [y, after["overlap"], *torch.autograd.grad(total, [controls, gains])]

    exact = run(copy.deepcopy(plain), state["gains"].clone())
    quick = run(fast_form(plain), state["gains"].clone())
    for value, expected, bound in zip(quick, exact, [1e-5, 1e-5, *2 * [1e-2 if bf16 else 1e-5]]):
        assert relative_error(value, expected) < bound
