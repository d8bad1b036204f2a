"""Fixtures for the tests of fast forms."""

import pytest

from chirrup.lab import fast


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: request.param)
    return request.param
