"""The fast form of a GRU against the plain one in double precision."""

import pytest
import torch

from chirrup.lab import fast
from chirrup.lab.nn import GRU
from fast_forms import assert_chunks_equal_whole, assert_same_result_each_time, errors

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


@pytest.mark.parametrize(
    ("batch", "inputs", "hidden", "time"),
    [
        (2, 256, 256, 20),
        (1, 20, 33, 7),
        (3, 8, 16, 1),
        (4, 9, 50, 12),
        (8, 16, 64, 5),
        (21, 5, 7, 9),
    ],
)
def test_equals_plain(batch: int, inputs: int, hidden: int, time: int, bf16: bool) -> None:
    torch.manual_seed(batch)
    of_values, of_gradients = errors(GRU(inputs, hidden), torch.randn(batch, inputs, time))
    assert of_values < (1e-2 if bf16 else 1e-6)
    assert of_gradients < (1e-2 if bf16 else 1e-5)


def test_large_inputs_saturate_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: False)
    layer = GRU(4, 16)
    of_values, _ = errors(layer, 1e4 * torch.randn(2, 4, 6))
    assert of_values < 1e-6


def test_several_layers_stay_plain() -> None:
    torch.manual_seed(0)
    of_values, of_gradients = errors(GRU(6, 8, layers=2), torch.randn(2, 6, 5))
    assert of_values < 1e-6
    assert of_gradients < 1e-5


def test_chunked_equals_whole() -> None:
    assert_chunks_equal_whole(GRU(24, 40), torch.randn(3, 24, 60), [1, 7, 20, 32])


def test_same_result_each_time(bf16: bool) -> None:
    assert_same_result_each_time(GRU(24, 40), torch.randn(3, 24, 60))
