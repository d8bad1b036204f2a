"""Comfort noise: its description, and the generator."""

import numpy as np
import pytest

from chirrup.errors import FormatError
from chirrup.live.comfort_noise import (
    ORDER,
    ComfortNoise,
    NoiseDescriber,
    reflection_of,
    unpack_noise,
)

RATE_HZ, TICK = 24_000, 480
LOW_PASS = (1.0, -1.2, 0.5)
"""Denominator of a filter with a resonance at 3 kHz."""


def coloured(seconds: float, level_db: float, seed: int = 0) -> np.ndarray:
    """Noise of an all-pole filter."""
    white, out = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ)), [0.0, 0.0]
    for value in white:
        out.append(value - LOW_PASS[1] * out[-1] - LOW_PASS[2] * out[-2])
    signal = np.array(out[2:])
    return (signal / signal.std() * 10 ** (level_db / 20)).astype(np.float32)


def ticks(signal: np.ndarray) -> list[np.ndarray]:
    return list(signal.reshape(-1, TICK))


def described(signal: np.ndarray) -> list[bytes | None]:
    describer = NoiseDescriber(RATE_HZ)
    return [describer.push(piece, False) for piece in ticks(signal)]


def generated(payload: bytes, seconds: float) -> np.ndarray:
    noise = ComfortNoise(RATE_HZ)
    noise.describe(payload)
    pulls = round((seconds + 1) * RATE_HZ / TICK)
    return np.concatenate([noise.pull(TICK, True) for _ in range(pulls)])[RATE_HZ:]


def spectrum_db(signal: np.ndarray) -> np.ndarray:
    """Power in 12 bands of 1 kHz."""
    blocks = signal[: len(signal) // TICK * TICK].reshape(-1, TICK) * np.hanning(TICK)
    power = np.square(np.abs(np.fft.rfft(blocks))).mean(axis=0)[:-1]
    return 10 * np.log10(power.reshape(12, -1).mean(axis=1))


def test_the_reflection_coefficients_are_those_of_the_filter() -> None:
    """Of 1 + a z^-1 + b z^-2 they are a / (1 + b) and b."""
    signal = coloured(4, -20).astype(np.float64)
    correlation = np.array([signal[lag:] @ signal[: len(signal) - lag] for lag in range(5)])
    expected = [LOW_PASS[1] / (1 + LOW_PASS[2]), LOW_PASS[2], 0, 0]
    assert reflection_of(correlation) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("level_db", [-20, -60, -90])
def test_the_noise_has_the_level_and_the_spectrum_of_the_pause(level_db: int) -> None:
    pause = coloured(1, level_db)
    (payload,) = [found for found in described(pause) if found]
    assert len(payload) == 1 + ORDER
    assert payload[0] == pytest.approx(-level_db, abs=1)
    noise = generated(payload, 2)
    assert noise.dtype == np.float32
    assert 20 * np.log10(noise.std()) == pytest.approx(level_db, abs=1.5)
    assert np.abs(spectrum_db(noise) - spectrum_db(pause)).max() < 4
    assert np.ptp(spectrum_db(pause)) > 15, "the spectrum is not flat"


def test_a_pause_is_described_once_unless_the_level_changes() -> None:
    pause = np.concatenate([coloured(2, -60), coloured(2, -50, 1)])
    sent = [tick * 0.02 for tick, found in enumerate(described(pause)) if found]
    assert sent[0] == pytest.approx(0.08)
    assert 2 <= len(sent) <= 6
    assert min(sent[1:]) >= 2
    assert max(sent) < 4


def test_voice_is_not_described() -> None:
    """The level in the second pause is that of the pauses, although the voice is 40 dB louder."""
    describer = NoiseDescriber(RATE_HZ)
    assert describer.latest is None
    parts = [(coloured(1, -60), False), (coloured(1, -20), True), (coloured(1, -60), False)]
    sent = [
        found
        for signal, active in parts
        for piece in ticks(signal)
        if (found := describer.push(piece, active))
    ]
    assert [payload[0] for payload in sent] == pytest.approx([60, 60], abs=1)
    assert describer.latest
    assert unpack_noise(describer.latest).level_db == pytest.approx(-60, abs=1)


def test_digital_silence_stays_silent() -> None:
    (payload,) = [found for found in described(np.zeros(RATE_HZ, np.float32)) if found]
    assert payload[0] == 127
    assert not generated(payload, 1).any()


def test_the_noise_fades_in_and_out_without_a_click() -> None:
    """The curvature (second difference) at the seams and in the fades is that of the noise.

    A noise that is switched on and off without a fade has steps as large as the noise itself."""
    noise = ComfortNoise(RATE_HZ)
    assert not noise.pull(TICK, True).any(), "nothing is described"
    low = coloured(1, -30)
    for _ in range(6):  # a tone-like rumble, whose own curvature is small
        low = np.convolve(low, np.ones(24) / 24, mode="same").astype(np.float32)
    low *= np.float32(0.03 / low.std())
    (payload,) = [found for found in described(low) if found]
    noise.describe(payload)
    audio, on = [], np.repeat([False, True, False, True, False], 30)
    for tick, wanted in enumerate(on):
        if tick == 45:
            noise.describe(bytes([payload[0] + 6]) + payload[1:])  # 6 dB less
        audio.append(noise.pull(TICK, bool(wanted)))
    assert not np.concatenate(audio[:30]).any()
    assert not np.concatenate(audio[66:90]).any(), "it has faded out in 0.1 s"
    assert np.concatenate(audio[41:45]).std() == pytest.approx(0.03, rel=0.5)
    whole = np.concatenate(audio)
    steady = np.abs(np.diff(whole[40 * TICK : 45 * TICK], 2)).max()
    assert np.abs(np.diff(whole, 2)).max() < 1.5 * steady
    switched = whole * np.repeat(on, TICK)
    assert np.abs(np.diff(switched, 2)).max() > 1.5 * steady, "the criterion finds a click"


def test_pieces_of_any_size() -> None:
    payload = bytes([40, 60, 127, 200])
    one, many = ComfortNoise(RATE_HZ), ComfortNoise(RATE_HZ)
    one.describe(payload)
    many.describe(payload)
    whole = one.pull(3000, True)
    parts = [many.pull(size, True) for size in (1, 0, 699, 2000, 300)]
    assert np.allclose(np.concatenate(parts), whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("payload", "words"),
    [(b"", "empty"), (b"\x80\x7f", "byte 128, more than 127"), (b"\x40\x7f\xff", "byte 255")],
)
def test_a_malformed_description_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        ComfortNoise(RATE_HZ).describe(payload)


def test_extreme_descriptions_give_finite_noise_of_their_level() -> None:
    random = np.random.default_rng(0)
    for number in range(60):
        order = int(random.integers(0, 40))
        payload = bytes([30, *random.choice([0, 127, 254, 1, 200], order).tolist()])
        noise = generated(payload, 0.5)
        assert np.isfinite(noise).all(), number
        assert noise.std() < 10 ** (-30 / 20) * 2, number
