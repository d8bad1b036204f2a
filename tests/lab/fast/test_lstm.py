"""The fast form of an LSTM against the plain one in double precision."""

import pytest
import torch

from chirrup.lab import fast
from chirrup.lab.nn import LSTM
from fast_forms import assert_chunks_equal_whole, assert_same_result_each_time, errors

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


@pytest.mark.parametrize(
    ("batch", "inputs", "hidden", "layers", "time"),
    [(2, 128, 128, 2, 20), (1, 20, 33, 1, 7), (3, 8, 16, 3, 1), (8, 9, 50, 2, 12)],
)
def test_equals_plain(
    batch: int, inputs: int, hidden: int, layers: int, time: int, bf16: bool
) -> None:
    torch.manual_seed(batch)
    of_values, of_gradients = errors(LSTM(inputs, hidden, layers), torch.randn(batch, inputs, time))
    assert of_values < (1e-2 if bf16 else 1e-6)
    assert of_gradients < (1e-2 if bf16 else 1e-5)


def test_large_inputs_saturate_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: False)
    of_values, _ = errors(LSTM(4, 16), 1e4 * torch.randn(2, 4, 6))
    assert of_values < 1e-6


def test_chunked_equals_whole() -> None:
    assert_chunks_equal_whole(LSTM(24, 40, 2), torch.randn(3, 24, 60), [1, 7, 20, 32])


def test_same_result_each_time(bf16: bool) -> None:
    assert_same_result_each_time(LSTM(24, 40, 2), torch.randn(3, 24, 60))
