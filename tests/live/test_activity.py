"""Voice activity detection."""

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.live.activity import VoiceActivity
from live_streams import cut

SPEECH, RATE_HZ = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", dtype="float32")
SPEECH = SPEECH[: len(SPEECH) // 480 * 480]
LEVELS_DB = 20 * np.log10(SPEECH.reshape(-1, 480).std(axis=1) + 1e-9)
BELOW_DB = LEVELS_DB.max() - LEVELS_DB
LOUD = BELOW_DB < 12
PAUSE_S = 3


def noise(samples: int, level_db: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """White noise below 1 kHz, much as of a fan or a car."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(samples))
    spectrum[round(1000 / rate_hz * samples) :] *= 0.1
    signal = np.fft.irfft(spectrum, samples)
    return (signal / signal.std() * 10 ** (level_db / 20)).astype(np.float32)


def decisions(signal: np.ndarray, tick: int = 480, rate_hz: int = RATE_HZ) -> np.ndarray:
    activity = VoiceActivity(rate_hz)
    return np.array([activity.push(piece) for piece in signal.reshape(-1, tick)])


@pytest.mark.parametrize("below_db", [60, 20, 10])
@pytest.mark.parametrize("gain", [1.0, 0.03])
def test_speech_is_found_and_pauses_are_left_out(below_db: int, gain: float) -> None:
    """Speech between two pauses, in noise that is so many dB below the loud parts of the speech."""
    pause = np.zeros(PAUSE_S * RATE_HZ, np.float32)
    signal = np.concatenate([pause, SPEECH, pause])
    signal += noise(len(signal), LEVELS_DB[LOUD].mean() - below_db)
    found = decisions(gain * signal)
    ticks = len(pause) // 480
    before, speech, after = found[100:ticks], found[ticks:-ticks], found[-ticks:]
    assert (~speech[LOUD]).mean() < 0.02
    assert before.mean() < 0.05
    assert after[15:].mean() < 0.05, "beside the hangover"


def test_the_hangover_is_as_long_as_stated() -> None:
    """A burst of 0.2 s has the whole hangover of 0.2 s, a click of 1 ms a quarter of it."""
    signal = noise(4 * RATE_HZ, -60)
    signal[2 * RATE_HZ : 2 * RATE_HZ + 4800] += noise(4800, -20)
    signal[3 * RATE_HZ : 3 * RATE_HZ + 24] += 0.5
    blocks = np.flatnonzero(decisions(signal, 240)) / 100
    burst, click = blocks[(blocks >= 1.9) & (blocks < 2.9)], blocks[blocks >= 2.9]
    assert burst.min() == pytest.approx(2.0, abs=0.011)
    assert burst.max() == pytest.approx(2.4, abs=0.021)
    assert click.min() == pytest.approx(3.0, abs=0.011)
    assert click.max() == pytest.approx(3.05, abs=0.021)


def test_louder_noise_is_voice_for_two_seconds_at_most() -> None:
    signal = np.concatenate([noise(4 * RATE_HZ, -60), noise(6 * RATE_HZ, -40)])
    found = np.flatnonzero(decisions(signal)) * 0.02
    assert found[found > 1].min() == pytest.approx(4, abs=0.05)
    assert found.max() < 6


def test_voice_at_the_start_of_a_stream_is_sent() -> None:
    """There was no pause from which the noise floor could follow."""
    first = np.flatnonzero(LOUD)[0]
    found = decisions(SPEECH[first * 480 : (first + 100) * 480])
    assert found[LOUD[first : first + 100]].all()


def test_digital_silence_is_not_voice() -> None:
    assert not decisions(np.zeros(2 * RATE_HZ, np.float32)).any()


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 48_000])
def test_other_rates_and_pieces_of_any_size(rate_hz: int) -> None:
    signal = noise(2 * rate_hz, -60, rate_hz)
    signal[rate_hz : rate_hz + rate_hz // 5] += noise(rate_hz // 5, -20, rate_hz)
    whole, pieces = VoiceActivity(rate_hz), VoiceActivity(rate_hz)
    expected = [whole.push(part) for part in cut(signal, [whole.block] * 199)]
    assert 0.19 < np.mean(expected) < 0.25
    lengths = [1, 0, 3 * whole.block - 1, *[whole.block] * 100]
    places = np.cumsum([0, *lengths, len(signal) - sum(lengths)])
    for part, end in zip(cut(signal, lengths), places[1:], strict=True):
        pieces.push(part)
        if blocks := end // whole.block:
            assert pieces.active == expected[blocks - 1]


def test_a_rate_that_is_too_low_is_refused() -> None:
    with pytest.raises(ValueError, match="4000 Hz is too low: use 8000"):
        VoiceActivity(4000)
