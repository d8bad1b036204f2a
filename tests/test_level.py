"""The level control before the encoder."""

from typing import Any

import numpy as np
import pytest

from chirrup.level import LARGEST_GAIN_DB, PEAK, TARGET_DB, LevelControl
from live_streams import cut
from small_model import RATE_HZ, speech_like

SPEECH = speech_like(6 * RATE_HZ)


def level_db(audio: np.ndarray) -> float:
    blocks = audio[: len(audio) // 480 * 480].reshape(-1, 480).std(axis=1)
    return float(20 * np.log10(blocks[blocks > blocks.max() / 10]).mean())


@pytest.mark.parametrize("lower_db", [30, 45])
def test_quiet_speech_is_raised_to_the_target(lower_db: int) -> None:
    quiet = SPEECH * np.float32(10 ** (-lower_db / 20))
    after = LevelControl(RATE_HZ).push(quiet)
    expected = min(TARGET_DB, level_db(quiet[-2 * RATE_HZ :]) + LARGEST_GAIN_DB)
    assert level_db(after[-2 * RATE_HZ :]) == pytest.approx(expected, abs=4)


def test_loud_speech_does_not_change() -> None:
    loud = 3 * SPEECH
    assert np.array_equal(LevelControl(RATE_HZ).push(loud)[RATE_HZ:], loud[RATE_HZ:])


def test_pieces_of_any_size_and_silence() -> None:
    whole, pieces = LevelControl(RATE_HZ), LevelControl(RATE_HZ)
    quiet = np.concatenate([SPEECH[:20_000] / 30, np.zeros(9_000, np.float32)])
    parts = [pieces.push(part) for part in cut(quiet, [1, 700, 0, 480, 5_000])]
    expected = whole.push(quiet)
    assert np.allclose(np.concatenate(parts), expected, rtol=1e-5, atol=0)
    assert not expected[-9_000:].any()


def test_loud_speech_after_a_quiet_pause_is_not_clipped() -> None:
    """The gain of the pause is 40 dB, which would raise the first syllable 30 dB too far."""
    pause = 10 ** (-75 / 20) * np.random.default_rng(0).standard_normal(2 * RATE_HZ)
    loud = SPEECH / np.abs(SPEECH).max() * 0.9
    control = LevelControl(RATE_HZ)
    control.push(pause.astype(np.float32))
    assert control.gain_db == LARGEST_GAIN_DB
    after = control.push(loud)
    quiet = np.abs(loud) < PEAK
    assert np.abs(after[quiet]).max() <= PEAK * 1.001
    assert np.allclose(after[~quiet], loud[~quiet]), "a sample that is loud already keeps its level"
    assert np.allclose(after[RATE_HZ:], loud[RATE_HZ:], rtol=0.5, atol=0)
    assert control.gain_db < 12


def test_channels_have_one_gain_which_is_that_of_the_loudest() -> None:
    quiet = SPEECH / 100
    one = LevelControl(RATE_HZ).push(quiet)
    two = LevelControl(RATE_HZ, 2).push(np.stack([quiet, quiet / 4]))
    assert two.dtype == np.float32
    assert np.allclose(two, np.stack([one, one / 4]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("split", [0, 100, 48_000, 48_123])
def test_a_level_control_goes_on_from_saved_state(split: int) -> None:
    """Also within a block whose gain is limited: speech begins at 2 s."""
    signal = np.concatenate([np.full(2 * RATE_HZ, 1e-4, np.float32), SPEECH[: 2 * RATE_HZ]])
    signal[1::2] *= -1
    control, other = LevelControl(RATE_HZ), LevelControl(RATE_HZ)
    control.push(signal[:split])
    saved = control.save()
    rest = control.push(signal[split:])
    other.push(SPEECH[:777])
    other.restore(saved)
    assert np.array_equal(other.push(signal[split:]), rest)
    assert all(isinstance(value, (np.ndarray, int, float)) for value in saved.values())


@pytest.mark.parametrize(
    "saved", [None, {}, LevelControl(8000).save(), LevelControl(24_000).save()]
)
def test_only_a_state_of_the_same_rate_and_channels_is_restored(saved: Any) -> None:
    with pytest.raises(ValueError, match=r"not of a level control of 2 channels .* save\(\)"):
        LevelControl(RATE_HZ, 2).restore(saved)
