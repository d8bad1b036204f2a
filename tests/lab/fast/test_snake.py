"""The fast forms of Snake and SnakeBeta against the plain ones in double precision."""

import pytest
import torch

from chirrup.lab import fast
from chirrup.lab.nn import Snake, SnakeBeta, Streaming
from fast_forms import assert_same_result_each_time, errors

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def make(kind: type[Snake] | type[SnakeBeta], channels: int) -> Streaming:
    torch.manual_seed(channels)
    layer = kind(channels)
    for parameter in layer.parameters():
        with torch.no_grad():
            parameter += 0.5 * torch.rand_like(parameter)
    return layer


@pytest.mark.parametrize("kind", [Snake, SnakeBeta])
@pytest.mark.parametrize(
    ("batch", "channels", "time"), [(2, 12, 5001), (3, 256, 100), (1, 5, 1), (2, 7, 33)]
)
def test_equals_plain(
    kind: type[Snake] | type[SnakeBeta], batch: int, channels: int, time: int
) -> None:
    layer = make(kind, channels)
    of_values, of_gradients = errors(layer, 2 * torch.randn(batch, channels, time))
    assert of_values < 1e-6
    assert of_gradients < 1e-5


def test_takes_a_tensor_of_any_strides() -> None:
    x = torch.randn(2, 40, 12).transpose(1, 2)
    of_values, of_gradients = errors(make(SnakeBeta, 12), x)
    assert of_values < 1e-6
    assert of_gradients < 1e-5


def test_same_result_each_time() -> None:
    assert_same_result_each_time(make(SnakeBeta, 12), torch.randn(3, 12, 1000))
