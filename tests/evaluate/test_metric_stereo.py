"""Inter-channel phase and level errors of signals with known differences."""

import numpy as np
import pytest

from chirrup.evaluate.metrics import METRICS, score

RATE_HZ = 48_000
RANDOM = np.random.default_rng(0)
NOISE = 0.1 * RANDOM.standard_normal(2 * RATE_HZ)


def panned(db: float) -> np.ndarray:
    """Return noise in both channels, the left one louder."""
    return np.stack([NOISE * 10 ** (db / 40), NOISE * 10 ** (-db / 40)])


def tone(hertz: float, degrees: float) -> np.ndarray:
    """Delay the right channel."""
    phase = 2 * np.pi * hertz * np.arange(RATE_HZ) / RATE_HZ
    return np.stack([np.sin(phase), np.sin(phase - np.radians(degrees))])


def ipd(reference: np.ndarray, decoded: np.ndarray) -> float | None:
    return score("ipd_error", reference, decoded, RATE_HZ)


def ild(reference: np.ndarray, decoded: np.ndarray) -> float | None:
    return score("ild_error", reference, decoded, RATE_HZ)


@pytest.mark.parametrize("db", [0.0, 3.0, 20.0])
@pytest.mark.parametrize("decoded_db", [-10.0, 0.0, 6.0])
def test_panned_noise(db: float, decoded_db: float) -> None:
    assert ild(panned(db), panned(decoded_db)) == pytest.approx(abs(db - decoded_db), abs=1e-6)
    assert ipd(panned(db), panned(decoded_db)) == pytest.approx(0, abs=1e-4)


def test_a_level_difference_ends_at_40_db() -> None:
    assert ild(panned(0), panned(90)) == pytest.approx(40)
    assert ild(panned(90), panned(-90)) == pytest.approx(80)


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1200.0])
@pytest.mark.parametrize(
    ("degrees", "decoded"), [(0, 30), (30, 0), (-170, 170), (0, 180), (45, 45)]
)
def test_a_delayed_tone(hertz: float, degrees: float, decoded: float) -> None:
    apart = abs((degrees - decoded + 180) % 360 - 180)
    assert ipd(tone(hertz, degrees), tone(hertz, decoded)) == pytest.approx(apart, abs=0.5)
    assert ild(tone(hertz, degrees), tone(hertz, decoded)) < 2, "both ends click"  # type: ignore[operator]


def test_delayed_noise_turns_each_band_by_its_frequency() -> None:
    """One sample is 7.5 degrees a kilohertz: the mean up to 1.5 kHz is below 11.25."""
    late = np.stack([NOISE, np.roll(NOISE, 1)])
    one = ipd(panned(0), late)
    assert one is not None
    assert 3 < one < 11.25
    four = ipd(panned(0), np.stack([NOISE, np.roll(NOISE, 4)]))
    assert four == pytest.approx(4 * one, rel=0.05)
    assert ild(panned(0), late) < 1  # type: ignore[operator]


def test_unrelated_channels_are_90_degrees_off() -> None:
    other = 0.1 * RANDOM.standard_normal((2, len(NOISE)))
    assert ipd(panned(0), other) == pytest.approx(90, abs=5)


def test_phase_above_the_ears_reach_does_not_count() -> None:
    low = tone(300, 0)
    assert ipd(low + tone(5000, 0), low + tone(5000, 90)) == pytest.approx(0, abs=0.5)


def test_a_gain_and_a_turn_of_both_channels_cost_nothing() -> None:
    signal = panned(6) + 0.05 * RANDOM.standard_normal((2, len(NOISE)))
    for decoded in (signal, 0.1 * signal, -signal):
        assert ipd(signal, decoded) == pytest.approx(0, abs=1e-4)
        assert ild(signal, decoded) == pytest.approx(0, abs=1e-6)
    assert ild(signal, signal[::-1]) > 5  # type: ignore[operator]


def test_mono_coding_loses_the_picture() -> None:
    signal = panned(12)
    mono = np.repeat(signal.mean(0, keepdims=True), 2, axis=0)
    assert ild(signal, mono) == pytest.approx(12, abs=1e-6)


@pytest.mark.parametrize("name", ["ipd_error", "ild_error"])
def test_blanks(name: str) -> None:
    silence = np.zeros((2, RATE_HZ))
    assert score(name, NOISE, NOISE, RATE_HZ) is None, "mono"
    assert score(name, np.stack([NOISE] * 3), np.stack([NOISE] * 3), RATE_HZ) is None
    assert score(name, silence, silence, RATE_HZ) is None
    one = np.stack([NOISE, 0 * NOISE])
    assert (score(name, one, one, RATE_HZ) is None) == (name == "ipd_error")
    assert score(name, panned(0), np.zeros((2, len(NOISE))), RATE_HZ) is not None
    assert score(name, panned(0)[:, :10], panned(0)[:, :10], RATE_HZ) == pytest.approx(0, abs=1e-4)
    metric = METRICS[name]
    assert metric.joint
    assert metric.lowest == 0


def test_a_silent_decoder_says_nothing_of_phase() -> None:
    assert ipd(panned(0), np.zeros((2, len(NOISE)))) == pytest.approx(90)
