"""The conditions for the use of fast forms."""

import copy

import pytest
import torch

from chirrup.lab import fast
from chirrup.lab.nn import GRU

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


def test_plain_layers_run_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: False)
    plain = GRU(24, 40)
    layer = copy.deepcopy(plain)
    fast.enable(layer)
    x = torch.randn(1, 24, 30)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.offline(x), plain.offline(x))
