"""Every configuration has weights or an error that names a source; the weights are as described."""

import json
import re

import numpy as np
import pytest

import chirrup
from chirrup.lab.models import CONFIGS, build
from chirrup.lab.models.iris import UNITS
from chirrup.zoo import FOLDER, UNTRAINED


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


@pytest.mark.parametrize("name", ["iris-t1", "iris-t2"])
def test_a_card_names_the_design_of_the_encoder(name: str) -> None:
    """States of the exported encoder have the shapes of the named design and of no other."""
    card = (FOLDER / name / "README.md").read_text()
    (units,) = set(re.findall(r'`encoder_units = "(\w+)"`', card))
    states = json.loads((FOLDER / name / "model.json").read_text())["states"]["encoder"]
    of_design = {}
    for design in UNITS:
        state = build(name, encoder_units=design).encoder.initial_state(1)
        of_design[design] = {key: list(value.shape[1:]) for key, value in state.items()}
    assert [design for design in UNITS if of_design[design] == states] == [units]
