"""Every configuration has weights, or says where to get some."""

import pytest

import chirrup
from chirrup.lab.models import CONFIGS
from chirrup.zoo import UNTRAINED


def test_a_configuration_is_shipped_or_untrained() -> None:
    assert set(CONFIGS) == set(chirrup.models()) | set(UNTRAINED)
    assert not set(chirrup.models()) & set(UNTRAINED)


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_an_untrained_one_says_so(name: str) -> None:
    with pytest.raises(chirrup.ModelError, match=f"{name} ships without weights: .*export|train"):
        chirrup.load(name)
