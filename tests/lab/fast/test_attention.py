"""The fast forms of attention against the plain layers in double precision."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.nn import Transformer
from chirrup.lab.training.distillation.whisper import WhisperLayer
from fast_forms import fast_form, relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def transformer(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    sizes = {"chunk": 4, "window": 12, "buckets": 16, "max_distance": 32}
    layer = Transformer(32, layers=2, heads=4, hidden=48, **sizes)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return layer


def results(layer: nn.Module, y: Tensor, x: Tensor) -> list[Tensor]:
    """Return the output, and the gradients of a randomly weighted sum of it."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(y.shape, generator=generator).to(y)
    learned = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    return [y, *torch.autograd.grad((y * weights).sum(), [x, *learned])]


@pytest.mark.parametrize("seen", [(0, 0), (8, 8), (0, 4)], ids=["first", "later", "mixed"])
def test_a_transformer_equals_plain(seen: tuple[int, int]) -> None:
    quick, _ = errors_of_a_transformer(0, seen, bf16=False)
    assert max(quick) < 1e-5


@pytest.mark.parametrize("seen", [(0, 0), (8, 8), (0, 4)], ids=["first", "later", "mixed"])
def test_a_transformer_in_bfloat16_has_the_errors_of_plain(seen: tuple[int, int]) -> None:
    """One draw does not suffice: errors of gradients of a few elements vary by a factor of 6."""
    draws = [errors_of_a_transformer(seed, seen, bf16=True) for seed in range(8)]
    quick, usual = np.sqrt(np.square(draws).mean(axis=0))
    assert (quick <= 2 * usual).all()


def errors_of_a_transformer(
    seed: int, seen: tuple[int, int], *, bf16: bool
) -> tuple[list[float], list[float]]:
    """Return the relative errors of the fast form and of the plain form.

    They are the errors of the new states, of the output and of the gradients.
    """
    plain = transformer(seed)
    x = torch.randn(2, 32, 20)
    state = {name: torch.randn_like(value) for name, value in plain.initial_state(2).items()}
    state["seen"] = torch.tensor(seen)[:, None, None, None].float()

    def run(layer: Transformer, dtype: torch.dtype) -> list[Tensor]:
        own = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16 and dtype is torch.float32):
            y, after = layer(own, {name: value.to(dtype) for name, value in state.items()})
        return [*(after[name] for name in sorted(after)), *results(layer, y, own)]

    exact = run(copy.deepcopy(plain).double(), torch.float64)
    quick, usual = run(fast_form(plain), torch.float32), run(plain, torch.float32)
    assert [value.shape for value in quick] == [value.shape for value in exact]
    return (
        [relative_error(*pair) for pair in zip(quick, exact, strict=True)],
        [relative_error(*pair) for pair in zip(usual, exact, strict=True)],
    )


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_whispers_layer_equals_plain(bf16: bool) -> None:
    """With bfloat16 its errors are not larger than the errors of the plain form."""
    torch.manual_seed(0)
    plain = WhisperLayer(32, 64, 4).requires_grad_(False)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    x = torch.randn(2, 30, 32)

    def run(layer: WhisperLayer, dtype: torch.dtype) -> list[Tensor]:
        own = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16 and dtype is torch.float32):
            y = layer(own)
            with torch.no_grad():
                assert torch.equal(layer(own), y)
        return results(layer, y, own)

    exact = run(copy.deepcopy(plain).double(), torch.float64)
    quick, usual = run(fast_form(plain), torch.float32), run(plain, torch.float32)
    for value, other, expected in zip(quick, usual, exact, strict=True):
        bound = 1.5 * relative_error(other, expected) if bf16 else 1e-5
        assert relative_error(value, expected) < bound


def test_whispers_layer_follows_its_weights() -> None:
    layer = fast_form(WhisperLayer(32, 64, 4).requires_grad_(False))
    x = torch.randn(2, 30, 32)
    before = layer(x)
    layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()})
    plain = copy.deepcopy(layer)
    plain.fast = False
    assert relative_error(layer(x), plain(x)) < 1e-5
    assert relative_error(before, plain(x)) > 1e-2
