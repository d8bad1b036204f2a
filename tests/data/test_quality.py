"""Estimates of quality for synthetic recordings with known values."""

import numpy as np
import pytest
import soxr
from scipy.signal import fftconvolve

from chirrup.data import quality, spectra
from chirrup.data.reverberation import reverberation_time_s
from chirrup.data.spectra import spectrum
from data_samples import RATE_HZ, band_limited, noise, room, talk

pytest.importorskip("pyloudnorm")


def figures(audio: np.ndarray, rate_hz: int = RATE_HZ, speech: bool = True) -> dict[str, float]:
    return quality.figures(np.atleast_2d(audio).astype(np.float32), rate_hz, speech=speech)


def levels_of(audio: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
    blocks, hz = spectrum(audio.astype(np.float32), rate_hz)
    return np.concatenate([quality.speech_levels(power, hz) for power in blocks])


def with_noise(clean: np.ndarray, snr_db: float, seed: int, coloured: bool) -> np.ndarray:
    """Add noise to words, with the SNR in the band `quality.SPEECH_HZ`."""
    added = noise(len(clean) / RATE_HZ, seed=seed)
    if coloured:
        spectrum = np.fft.rfft(added)
        added = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), len(added))
    levels = levels_of(clean)
    words = levels[levels > levels.max() * 1e-3].mean()
    return clean + added * np.sqrt(words / levels_of(added).mean() * 10 ** (-snr_db / 10))


@pytest.mark.parametrize("coloured", [False, True], ids=["white", "pink"])
@pytest.mark.parametrize(("snr_db", "off_db"), [(5, 4), (15, 3), (25, 2), (40, 2), (55, 2)])
def test_snr(snr_db: float, off_db: float, coloured: bool) -> None:
    """The noise floor is the level of the pauses. If it is high, only loud words exceed it."""
    found = [
        quality.snr_db(levels_of(with_noise(talk(6, seed=seed), snr_db, seed, coloured)))
        for seed in range(3)
    ]
    assert found == pytest.approx([snr_db] * 3, abs=off_db)


def test_snr_does_not_take_padding_for_pauses() -> None:
    audio = with_noise(talk(6), 20, 0, False)
    padded = np.concatenate([np.zeros(2 * RATE_HZ), audio, np.zeros(RATE_HZ)])
    plain, found = (quality.snr_db(levels_of(x)) for x in (audio, padded))
    assert found == pytest.approx(plain, abs=0.5)


def test_spectra_in_blocks_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = with_noise(talk(20, pause_share=0.6), 20, 0, False)
    found = []
    for frames in (10**9, 100):
        monkeypatch.setattr(spectra, "BLOCK_FRAMES", frames)
        found.append(figures(audio))
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    sizes = {len(power) for power in spectrum(audio.astype(np.float32), RATE_HZ)[0]}
    assert max(sizes) == 100


@pytest.mark.parametrize("rt60_s", [0.3, 0.5, 0.8, 1.2])
def test_reverberation_time(rt60_s: float) -> None:
    found = []
    for seed in range(3):
        dry = talk(10, seed=seed, pause_share=0.6)
        wet = fftconvolve(dry, room(rt60_s, seed=seed))[: len(dry)]
        found.append(reverberation_time_s(wet.astype(np.float32), RATE_HZ))
    assert found == pytest.approx([rt60_s] * 3, rel=0.2)


def test_a_dry_talk_has_hardly_any_reverberation() -> None:
    dry = talk(10, pause_share=0.6) * (1 + 0 * noise(10))
    smooth = np.convolve(dry, np.exp(-np.arange(400) / 60))[: len(dry)]  # decays of a vocal tract
    found = reverberation_time_s((smooth + 1e-5 * noise(10)).astype(np.float32), RATE_HZ)
    assert found is None or found < 0.2


def test_noise_and_short_recordings_have_no_reverberation_time() -> None:
    assert reverberation_time_s(noise(3).astype(np.float32), RATE_HZ) is None
    assert reverberation_time_s(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None
    assert reverberation_time_s(talk(0.1).astype(np.float32), RATE_HZ) is None
    assert reverberation_time_s(np.zeros(200, np.float32), 800) is None


@pytest.mark.parametrize("highest_hz", [3400, 8000, 11000, 16000, 20000])
def test_bandwidth_of_what_was_limited(highest_hz: float) -> None:
    audio = band_limited(talk(3, 48_000) + 1e-3 * noise(3, 48_000), 48_000, highest_hz)
    assert figures(audio, 48_000)["bandwidth_hz"] == pytest.approx(highest_hz, abs=200)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 32_000])
def test_bandwidth_of_what_was_stored_at_a_lower_rate(rate_hz: int) -> None:
    """And quantised at the higher one."""
    audio = soxr.resample(talk(3, rate_hz), rate_hz, 48_000, quality="VHQ")
    audio = (audio * 32768).round() / 32768
    found = figures(audio, 48_000)["bandwidth_hz"]
    assert 0.88 * rate_hz / 2 < found < 1.03 * rate_hz / 2


def test_bandwidth_of_a_full_recording_is_half_its_rate() -> None:
    for rate_hz in (8_000, 16_000, 44_100):
        found = figures(talk(2, rate_hz), rate_hz)["bandwidth_hz"]
        assert found == pytest.approx(rate_hz / 2, abs=quality.BAND_HZ)


def test_bandwidth_does_not_depend_on_the_level() -> None:
    audio = band_limited(talk(3, 48_000), 48_000, 7000)
    assert len({figures(level * audio, 48_000)["bandwidth_hz"] for level in (1, 0.1, 0.01)}) == 1


@pytest.mark.parametrize("share", [1e-4, 1e-3, 1e-2])
def test_clipping(share: float) -> None:
    audio = band_limited(talk(8, 48_000), 48_000, 3000)
    limit = np.quantile(np.abs(audio), 1 - share)
    clipped = (audio / limit).clip(-1, 1) * 32767 / 32768
    truth = (np.abs(clipped) >= 32767 / 32768).mean()
    found = figures((clipped * 32768).round() / 32768, 48_000)["clipped_share"]
    assert 0.3 * truth < found <= 1.1 * truth


def test_clipping_before_the_level_was_lowered() -> None:
    clipped = (3 * talk(8, 48_000)).clip(-0.3, 0.3)
    assert figures(clipped / 2, 48_000)["clipped_share"] > 1e-3


def test_nothing_clipped_in_tones_and_quiet_talk() -> None:
    time = np.arange(48_000) / 48_000
    for hz in (50, 440, 3000):
        tone = (0.9 * np.sin(2 * np.pi * hz * time) * 32768).round() / 32768
        assert figures(tone, 48_000)["clipped_share"] == 0
    quiet = (0.02 * talk(4) * 32768).round() / 32768
    assert figures(quiet)["clipped_share"] == 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_silence(share: float) -> None:
    sound = noise(10 * (1 - share))
    for silence in (np.zeros(round(10 * share * RATE_HZ)), 0.003 * noise(10 * share, seed=1)):
        audio = np.concatenate([sound, silence])
        assert figures(audio)["silence_share"] == pytest.approx(share, abs=0.02)


def test_dc_is_of_the_worst_channel() -> None:
    audio = np.stack([talk(2), talk(2, seed=1) + 0.03])
    expected = np.abs(audio.mean(axis=1)).max()
    assert figures(audio)["dc_offset"] == pytest.approx(expected, abs=1e-5)


def test_loudness_of_a_tone_is_what_the_standard_says() -> None:
    """BS.1770: a sine of 997 Hz at full scale in one channel is at -3.01 LUFS."""
    tone = np.sin(2 * np.pi * 997 * np.arange(96_000) / 48_000)
    assert figures(tone, 48_000)["loudness_lufs"] == pytest.approx(-3.01, abs=0.1)
    assert figures(0.1 * tone, 48_000)["loudness_lufs"] == pytest.approx(-23.01, abs=0.1)


def test_what_cannot_be_told_is_left_out() -> None:
    assert not {"snr_db", "rt60_s"} & set(figures(noise(2), speech=False))
    assert "loudness_lufs" not in figures(talk(0.2))
    assert "loudness_lufs" not in figures(talk(8, 2000), 2000)
    assert "bandwidth_hz" not in figures(np.zeros(RATE_HZ))
    assert "snr_db" not in figures(np.zeros(RATE_HZ))
