"""The fast form of a depthwise convolution against the plain layer in double precision."""

import pytest
import torch
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.nn import Conv1d, ReplicatedConv1d, State, Streaming
from fast_forms import (
    assert_chunks_equal_whole,
    assert_same_result_each_time,
    errors,
    fast_form,
    relative_error,
)

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


class Started(Streaming):
    """Return a layer and its state after a first call, so that its past has a gradient."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        torch.manual_seed(channels)
        self.inner = ReplicatedConv1d(channels, channels, kernel_size, groups=channels)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"past": self.inner.initial_state(batch, device)["past"]}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = self.inner(x, state | {"started": x.new_ones(len(x), 1, 1)})
        return y, {"past": after["past"]}


@pytest.mark.parametrize(
    ("batch", "channels", "kernel_size", "time"),
    [(2, 256, 128, 150), (1, 40, 2, 7), (3, 32, 18, 1)],
)
def test_equals_plain(batch: int, channels: int, kernel_size: int, time: int) -> None:
    of_values, of_gradients = errors(
        Started(channels, kernel_size), torch.randn(batch, channels, time)
    )
    assert of_values < 1e-6
    assert of_gradients < 1e-5


@pytest.mark.parametrize("layer", [Started(64, 18), Conv1d(64, 64, 7, groups=64)])
def test_in_bfloat16(layer: Streaming) -> None:
    x = torch.randn(2, 64, 40)
    with torch.autocast("cpu", torch.bfloat16):
        y = fast_form(layer).offline(x)
    assert y.dtype is torch.bfloat16
    assert relative_error(y, layer.offline(x).double()) < 1e-2


def test_a_causal_convolution_equals_plain() -> None:
    of_values, of_gradients = errors(Conv1d(64, 64, 7, groups=64), torch.randn(2, 64, 40))
    assert of_values < 1e-6
    assert of_gradients < 1e-5


def test_chunked_equals_whole() -> None:
    assert_chunks_equal_whole(Started(40, 14), torch.randn(2, 40, 60), [1, 7, 20, 32])


def test_same_result_each_time() -> None:
    assert_same_result_each_time(Started(40, 14), torch.randn(3, 40, 30))
