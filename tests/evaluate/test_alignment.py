"""Known delays are found, for codecs that preserve the waveform and for vocoders."""

import numpy as np
import pytest

from chirrup.evaluate.alignment import best_delay, correlations, moved

RATE_HZ = 24_000


def speech_like(seed: int, samples: int = 2 * RATE_HZ) -> np.ndarray:
    """Return noise in syllables, ``[1, samples]``."""
    random = np.random.default_rng(seed)
    syllables = np.abs(np.convolve(random.standard_normal(samples), np.ones(2400) / 2400, "same"))
    return (syllables * random.standard_normal(samples))[None]


@pytest.mark.parametrize("delay", [-37, 0, 1, 240, 1500])
def test_a_delay_is_found_to_the_sample(delay: int) -> None:
    pairs = [(clip := speech_like(seed), moved(clip, -delay, clip.shape[1])) for seed in range(2)]
    assert best_delay((correlations(a, b, RATE_HZ) for a, b in pairs)) == delay


def test_a_vocoder_is_found_by_its_loudness() -> None:
    """The decoded waveform is other noise with the loudness of the clip."""
    random, sums = np.random.default_rng(9), []
    for seed in range(4):
        clip = speech_like(seed)
        other = np.sign(clip) * clip * random.standard_normal(clip.shape)
        sums.append(correlations(clip, moved(other, -700, clip.shape[1]), RATE_HZ))
    assert best_delay(sums) == pytest.approx(700, abs=RATE_HZ // 500)


def test_loudness_that_comes_late_misleads_only_vocoders() -> None:
    """The waveform determines the delay, though the loudness is late by 10 ms."""
    sums = []
    for seed in range(4):
        clip = speech_like(seed)
        level = np.convolve(np.abs(clip[0]), np.ones(600) / 600, "same")[None] + 1e-6
        late = clip / level * moved(level, -240, clip.shape[1])
        sums.append(correlations(clip, late, RATE_HZ))
    assert abs(int(np.mean(sums, axis=0)[0].argmax()) - 2400) > 24
    assert best_delay(sums) == 0


def test_moving_cuts_and_pads() -> None:
    audio = np.arange(1.0, 6.0)[None]
    assert moved(audio, 2, 5).tolist() == [[3, 4, 5, 0, 0]]
    assert moved(audio, -2, 4).tolist() == [[0, 0, 1, 2]]


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_a_clip_shorter_than_the_delays_is_no_error(samples: int) -> None:
    clip = np.ones((2, samples))
    assert correlations(clip, clip[:, :1], RATE_HZ).shape == (2, 2 * 2400 + 1)
