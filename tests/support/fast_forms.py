"""Compare a layer's fast form with its plain form in double precision."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.nn import State, Streaming

Layer = TypeVar("Layer", bound=nn.Module)


def fast_form(layer: Layer) -> Layer:
    """Return a copy of ``layer`` that uses its fast form."""
    layer = copy.deepcopy(layer)
    fast.enable(layer)
    return layer


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value.detach().double() - expected.detach()).norm() / expected.detach().norm())


def random_state(layer: Streaming, batch: int) -> State:
    return {key: torch.randn_like(value) for key, value in layer.initial_state(batch).items()}


def values_and_gradients(
    layer: Streaming, x: Tensor, state: State
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the outputs, new states and gradients of input, state and parameters, by name.

    The gradients are of one random weighted sum of all outputs and new states.
    """
    inputs = {"x": x.clone().requires_grad_()}
    inputs |= {f"state {key}": value.clone().requires_grad_() for key, value in state.items()}
    y, after = layer(inputs["x"], {key: inputs[f"state {key}"] for key in state})
    values = {"y": y} | {f"new {key}": value for key, value in after.items()}
    inputs |= dict(layer.named_parameters())
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator).to(x) for value in values.values()]
    gradients = torch.autograd.grad(list(values.values()), list(inputs.values()), weights)
    return values, dict(zip(inputs, gradients, strict=True))


def errors(layer: Streaming, x: Tensor, state: State | None = None) -> tuple[float, float]:
    """Return the largest relative error of outputs and new states, and of gradients."""
    state = random_state(layer, len(x)) if state is None else state
    values, gradients = values_and_gradients(fast_form(layer), x, state)
    exact = copy.deepcopy(layer).double()
    double = {key: value.double() for key, value in state.items()}
    expected, references = values_and_gradients(exact, x.double(), double)
    return (
        max(relative_error(values[name], expected[name]) for name in expected),
        max(relative_error(gradients[name], references[name]) for name in references),
    )


def assert_chunks_equal_whole(layer: Streaming, x: Tensor, chunks: list[int]) -> None:
    layer = fast_form(layer)
    start = random_state(layer, len(x))
    with torch.no_grad():
        whole, end = layer(x, start)
        parts, state = [], start
        for chunk in x.split(chunks, dim=2):
            y, state = layer(chunk, state)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=2), whole)
    torch.testing.assert_close(state, end)


def assert_same_result_each_time(layer: Streaming, x: Tensor) -> None:
    layer = fast_form(layer)
    state = random_state(layer, len(x))
    (values, gradients), (again, gradients_again) = (
        values_and_gradients(layer, x, state) for _ in range(2)
    )
    assert all(torch.equal(values[name], again[name]) for name in values)
    assert all(torch.equal(gradients[name], gradients_again[name]) for name in gradients)
