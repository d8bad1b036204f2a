"""Weights that do not fit raise an error of one line and change nothing."""

import pytest
import torch
from torch import nn

from chirrup.lab.weights import load_weights


def module() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_all_weights_are_taken() -> None:
    first, second = module(), module()
    load_weights(second, first.state_dict())
    assert all(map(torch.equal, second.state_dict().values(), first.state_dict().values()))
    load_weights(second, weights := first.state_dict(), assign=True)
    assert second.state_dict()["0.weight"].data_ptr() == weights["0.weight"].data_ptr()


def test_tensors_that_do_not_fit_are_counted_and_named() -> None:
    weights = module().state_dict() | {"0.bias": torch.zeros(4), "2.gain": torch.ones(1)}
    del weights["1.weight"], weights["1.bias"]
    other = module()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    expected = r"2 missing \(1.weight\), 1 not known \(2.gain\), 1 of other shapes \(0.bias\)$"
    with pytest.raises(ValueError, match=expected):
        load_weights(other, weights)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
