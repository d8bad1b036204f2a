"""The level control before the encoder."""

import numpy as np
import pytest

from chirrup.level import LARGEST_GAIN_DB, TARGET_DB, LevelControl
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
