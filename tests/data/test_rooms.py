"""Room responses: synthetic ones with known values, and simulated ones."""

import numpy as np
import pytest

from chirrup.data import rooms
from chirrup.data.rooms import Simulation, shoebox, simulated
from chirrup.errors import FileError
from data_samples import room

RATE_HZ = 16_000


@pytest.mark.parametrize("sign", [1, -1])
def test_a_response_begins_with_its_direct_path_of_one(sign: int) -> None:
    measured = 0.02 * sign * np.concatenate([1e-3 * np.ones(300), room(0.4)])
    response = rooms.from_direct_path(measured.astype(np.float32))
    assert response[0] == 1.0
    assert np.abs(response).max() == 1.0
    expected = room(0.4)[: len(response)]
    assert np.abs(response - expected).max() < 1e-4


def test_a_response_ends_when_it_has_died_away() -> None:
    measured = np.concatenate([room(0.4), 1e-6 * np.ones(RATE_HZ)]).astype(np.float32)
    response = rooms.from_direct_path(measured)
    assert 0.3 * RATE_HZ < len(response) < 0.55 * RATE_HZ


def test_the_early_part_is_the_first_50_ms() -> None:
    response = np.arange(2000, dtype=np.float32)
    assert rooms.early_part(response, RATE_HZ, 50.0).tolist() == list(range(800))


@pytest.mark.parametrize("rt60_s", [0.2, 0.5, 1.5])
def test_reverberation_time_of_a_response(rt60_s: float) -> None:
    measured = room(rt60_s, delay=100).astype(np.float32)
    assert rooms.figures(measured, RATE_HZ)["rt60_s"] == pytest.approx(rt60_s, rel=0.1)


@pytest.mark.parametrize("ratio_db", [-6.0, 0.0, 12.0])
def test_direct_to_reverberant_ratio(ratio_db: float) -> None:
    response = room(0.5, delay=100)
    response[101:] *= 10 ** (-ratio_db / 20)
    found = rooms.figures(response.astype(np.float32), RATE_HZ)["direct_to_reverberant_db"]
    assert found == pytest.approx(ratio_db, abs=0.3)


def test_a_click_has_no_reverberation_time() -> None:
    assert "rt60_s" not in rooms.figures(np.eye(1, 500, dtype=np.float32)[0], RATE_HZ)


# --- simulated -----------------------------------------------------------------------------------

SMALL = Simulation(rooms=3, rate_hz=RATE_HZ, rt60_s=(0.2, 0.5))


def test_simulated_rooms_have_the_reverberation_they_were_asked_for() -> None:
    """Sabine's formula, which determines the absorption, is approximate: a room decays slightly
    faster."""
    pytest.importorskip("pyroomacoustics")
    for number in range(3):
        response, asked_s = shoebox(SMALL, number)
        assert 0.2 <= asked_s <= 0.5
        found = rooms.figures(response, RATE_HZ)["rt60_s"]
        assert found == pytest.approx(asked_s, rel=0.35)


def test_a_room_depends_on_its_number_and_the_seed_alone() -> None:
    pytest.importorskip("pyroomacoustics")
    first, _ = shoebox(SMALL, 1)
    np.random.seed(5)
    shoebox(SMALL, 0)
    again, _ = shoebox(SMALL, 1)
    assert np.array_equal(first, again)
    others = shoebox(SMALL, 2)[0], shoebox(Simulation(3, RATE_HZ, seed=2), 1)[0]
    for other in others:
        assert other.shape != first.shape or not np.allclose(other, first)


def test_every_simulated_room_is_a_recording_of_its_own() -> None:
    items = list(simulated(SMALL))
    assert [item.path for item in items] == ["shoebox:0", "shoebox:1", "shoebox:2"]
    assert len({item.group for item in items}) == 3
    assert {(item.kind, item.licence) for item in items} == {("rir", "CC0-1.0")}


def test_rooms_that_cannot_be_are_refused() -> None:
    pytest.importorskip("pyroomacoustics")
    with pytest.raises(FileError, match="no room of these sizes"):
        shoebox(Simulation(1, rt60_s=(0.001, 0.002)), 0)
