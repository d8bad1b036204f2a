"""The fast form of convolutional modulation against the plain block in double precision."""

import pytest
import torch

from chirrup.lab import fast
from chirrup.lab.nn import Conv2FormerBlock
from fast_forms import (
    assert_chunks_equal_whole,
    assert_same_result_each_time,
    errors,
    fast_form,
    values_and_gradients,
)

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def make(channels: int, hidden: int, kernel_size: int) -> Conv2FormerBlock:
    torch.manual_seed(channels + kernel_size)
    block = Conv2FormerBlock(channels, hidden, kernel_size)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if "norm" in name or "scale" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return block


@pytest.mark.parametrize(
    ("batch", "channels", "hidden", "kernel_size", "time"),
    [
        (2, 372, 380, 15, 50),
        (1, 48, 52, 15, 7),
        (3, 10, 14, 3, 20),
        (2, 18, 26, 2, 40),
        (2, 64, 70, 7, 1),
    ],
)
def test_equals_plain(
    batch: int, channels: int, hidden: int, kernel_size: int, time: int, bf16: bool
) -> None:
    block = make(channels, hidden, kernel_size)
    x = 2 * torch.randn(batch, channels, time)
    of_values, of_gradients = errors(block, x)
    assert of_values < (1e-2 if bf16 else 1e-6)
    assert of_gradients < (1e-2 if bf16 else 1e-5)


def test_chunked_equals_whole() -> None:
    assert_chunks_equal_whole(make(48, 52, 15), torch.randn(2, 48, 60), [1, 7, 20, 32])


def test_same_result_each_time(bf16: bool) -> None:
    assert_same_result_each_time(make(48, 52, 15), torch.randn(3, 48, 40))


def test_blocks_hand_on_rows() -> None:
    block = fast_form(make(48, 52, 15))
    x = torch.randn(2, 48, 40)
    state = block.initial_state(2)
    y, _ = block(x, state)
    assert y.transpose(1, 2).is_contiguous()
    rows = x.transpose(1, 2).contiguous().transpose(1, 2)
    of_planes, of_rows = (values_and_gradients(block, value, state) for value in (x, rows))
    for values, others in zip(of_planes, of_rows, strict=True):
        assert all(torch.equal(values[name], others[name]) for name in values)
