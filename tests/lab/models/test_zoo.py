"""Every configuration has weights or an error that names a source; decoded noise is sane."""

import numpy as np
import pytest

import chirrup
from chirrup.lab.models import CONFIGS
from chirrup.zoo import UNTRAINED


def test_a_configuration_is_shipped_or_untrained() -> None:
    assert set(CONFIGS) == set(chirrup.models()) | set(UNTRAINED)
    assert not set(chirrup.models()) & set(UNTRAINED)


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_an_untrained_model_raises(name: str) -> None:
    with pytest.raises(chirrup.ModelError, match=f"{name} ships without weights: .*export|train"):
        chirrup.load(name)


@pytest.mark.parametrize("deviation", [0.002, 0.02, 0.1])
def test_the_flagship_makes_no_blasts_of_noise(deviation: float) -> None:
    """Faulty weights, trained on bursts, amplified noise 90 times on average."""
    codec = chirrup.load("iris-t1")
    noise = np.random.default_rng(0).normal(0, deviation, 2 * codec.sample_rate_hz)
    made = codec.decode(codec.encode(noise.astype(np.float32), 1000))
    assert made.std() < 3 * deviation
    assert np.abs(made).max() < 100 * deviation
