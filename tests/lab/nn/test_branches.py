"""Parallel branches: a residual block with a shortcut, and `Parallel` over channels."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from chirrup.lab.nn import Conv1d, ConvTranspose1d, Parallel, Residual, Sequential, fit_scales


def test_shortcut_is_as_late_as_the_block() -> None:
    block, shortcut = Conv1d(2, 2, 5, look_ahead=2), Conv1d(2, 2, 1)
    model = Residual(2, block, shortcut)
    assert model.delay == 2
    x = torch.randn(1, 2, 50)
    usual = shortcut.conv(x) + F.conv1d(x, block.conv.weight, block.conv.bias, padding=2)
    assert_close(model.offline(x)[:, :, 2:], usual[:, :, :-2])
    state, pieces = model.initial_state(1), []
    for chunk in x.split([3, 1, 20, 26], dim=2):
        y, state = model(chunk, state)
        pieces.append(y)
    assert_close(torch.cat(pieces, dim=2), model.offline(x))


def test_branches_get_their_channels_in_order() -> None:
    first, second = Conv1d(2, 3, 4, stride=2), Conv1d(1, 2, 2, stride=2)
    model = Parallel((2, 1), first, second)
    assert (model.delay, model.ratio) == (0, 2)
    x = torch.randn(2, 3, 40)
    y = model.offline(x)
    assert_close(y[:, :3], first.offline(x[:, :2]))
    assert_close(y[:, 3:], second.offline(x[:, 2:]))
    assert set(model.initial_state(2)) == {"0.past"}


def test_branches_must_match() -> None:
    with pytest.raises(ValueError, match="one delay and one rate"):
        Parallel((1, 1), Conv1d(1, 1, 2, stride=2), ConvTranspose1d(1, 1, 2, stride=2))
    with pytest.raises(ValueError, match="one delay and one rate"):
        Parallel((1, 1), Conv1d(1, 1, 5), Conv1d(1, 1, 5, look_ahead=2))


@torch.no_grad()
def test_a_fresh_block_adds_little_to_its_shortcut() -> None:
    torch.manual_seed(0)
    shortcut, block = Conv1d(32, 32, 1), Sequential(Conv1d(32, 16, 3), Conv1d(16, 32, 1))
    model, x = Residual(32, block, shortcut), torch.randn(4, 32, 400)
    fit_scales(Sequential(model), x)
    assert float(shortcut.offline(x).std()) == pytest.approx(1, rel=0.2)
    assert float(block.offline(x).std()) < 0.4
