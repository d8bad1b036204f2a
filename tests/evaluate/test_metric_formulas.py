"""Waveform and spectral metrics compared with values of their formulas; words and word errors."""

import numpy as np
import pytest

from chirrup.evaluate.metrics import score
from chirrup.evaluate.metrics.recognition import distance, words
from chirrup.evaluate.metrics.spectral import hann, magnitudes, mel_filters

RATE_HZ = 24_000
GAIN_DB = 20 * np.log10(2)
NOISE = 0.3 * np.random.default_rng(0).standard_normal(RATE_HZ)


def value(name: str, decoded: np.ndarray, reference: np.ndarray = NOISE) -> float:
    result = score(name, reference, decoded, RATE_HZ)
    assert result is not None
    return result


def low_pass(audio: np.ndarray, cutoff_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(audio)
    return np.fft.irfft(spectrum * (np.fft.rfftfreq(len(audio), 1 / RATE_HZ) < cutoff_hz))


def orthogonal_noise(snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(len(NOISE))
    noise -= noise @ NOISE / (NOISE @ NOISE) * NOISE
    return noise * np.sqrt(NOISE @ NOISE / (noise @ noise)) * 10 ** (-snr_db / 20)


@pytest.mark.parametrize("snr_db", [-5, 0, 15, 60])
def test_noise_of_a_known_level(snr_db: float) -> None:
    decoded = NOISE + orthogonal_noise(snr_db)
    assert value("snr", decoded) == pytest.approx(snr_db, abs=1e-9)
    assert value("si_sdr", decoded) == pytest.approx(snr_db, abs=1e-9)
    assert value("si_sdr", 0.1 * decoded) == pytest.approx(snr_db, abs=1e-9)


def test_equal_signals() -> None:
    assert value("snr", NOISE) == np.inf
    assert value("si_sdr", NOISE) == np.inf
    assert value("si_sdr", 0.3 * NOISE) > 200
    names = ("lsd", "lsd_low", "lsd_high", "tq_lsd", "tq_lsd_low", "tq_lsd_high", "mel_distance")
    for name in (*names, "repetition"):
        assert value(name, NOISE) == 0


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_of_six_db(gain: float) -> None:
    decoded = gain * NOISE
    for name in ("lsd", "lsd_low", "lsd_high"):
        assert value(name, decoded) == pytest.approx(GAIN_DB, abs=0.01)
    for name in ("tq_lsd", "tq_lsd_low", "tq_lsd_high"):
        assert value(name, decoded) == pytest.approx(GAIN_DB / 10, abs=1e-3)
    assert value("mel_distance", decoded) == pytest.approx(7 * np.log10(2), abs=0.01)
    assert value("snr", 0.5 * NOISE) == pytest.approx(GAIN_DB)
    assert value("snr", 1.5 * NOISE) == pytest.approx(GAIN_DB)


def test_a_missing_upper_band_is_seen_in_the_upper_band_only() -> None:
    lsd_band = low_pass(NOISE, 6000)
    assert value("lsd_low", lsd_band) < 0.5
    assert value("lsd_high", lsd_band) > 40
    tq_band = low_pass(NOISE, 9000)
    assert value("tq_lsd_low", tq_band) < 0.05
    assert value("tq_lsd_high", tq_band) > 4
    assert value("mel_distance", tq_band) > value("mel_distance", low_pass(NOISE, 11_000)) > 0.1


@pytest.mark.parametrize(
    ("name", "window", "low"), [("lsd", 1024, 256 / 513), ("tq_lsd", 2048, 768 / 1025)]
)
def test_the_two_bands_make_the_whole(name: str, window: int, low: float) -> None:
    """In one frame the squares of the bands add up, weighted by their numbers of bins."""
    reference, decoded = NOISE[:window], NOISE[window : 2 * window]
    full, below, above = (
        value(name + band, decoded, reference) ** 2 for band in ("", "_low", "_high")
    )
    assert full == pytest.approx(low * below + (1 - low) * above)
    assert score(name, reference[1:], decoded[1:], RATE_HZ) is None


def test_silence_is_80_db_below_the_loudest_bin() -> None:
    time = np.arange(1024)
    tone = np.cos(2 * np.pi * 100 * time / 1024)
    expected = np.zeros(513)
    expected[[99, 100, 101]] = 80 - GAIN_DB, 80, 80 - GAIN_DB
    distance_db = np.sqrt(np.square(expected).mean())
    assert value("lsd", 0 * tone, tone) == pytest.approx(distance_db)


def test_no_split_below_15_7_khz_explains_the_paper_of_tqcodec() -> None:
    """The root mean square over bands is convex, so the means of the paper bound the split."""
    full, low, high = 0.6716, 0.5166, 0.9517
    part = (high**2 - full**2) / (high**2 - low**2)
    assert 15_650 < part * 22_050 < 16_537.5


# --- spectra -------------------------------------------------------------------------------------


def test_blocks_of_spectra_are_the_spectra() -> None:
    blocks = list(magnitudes(NOISE, 32, 8))
    assert len(blocks) > 1
    joined = np.concatenate(blocks)
    assert joined.shape == ((len(NOISE) - 32) // 8 + 1, 17)
    last = 8 * (len(joined) - 1)
    expected = np.abs(np.fft.rfft(NOISE[last : last + 32] * hann(32)))
    assert np.allclose(joined[-1], expected)


def test_mel_filters_are_slaneys() -> None:
    """Values of librosa 0.11, ``filters.mel(sr=24000, n_fft=512, n_mels=40)``."""
    filters = mel_filters(RATE_HZ, 512, 40)
    assert filters.shape == (40, 257)
    assert filters.argmax(axis=1)[[0, 9, 20, 30, 39]].tolist() == [2, 18, 46, 109, 235]
    sums = [0.02098735, 0.02098735, 0.02149608, 0.02132769, 0.02133757]
    assert filters.sum(axis=1)[[0, 9, 20, 30, 39]] == pytest.approx(sums, rel=1e-5)


def test_mel_distance_is_the_codes_of_the_paper() -> None:
    """The reference is an implementation in torch, as in the code of the paper."""
    torch = pytest.importorskip("torch")
    decoded = low_pass(NOISE, 5000) + 0.01 * NOISE[::-1]
    total = 0.0
    for window, bands in zip((32, 64, 128, 256, 512, 1024, 2048), (5, 10, 20, 40, 80, 160, 320)):
        logs = []
        for audio in (NOISE, decoded):
            spectrum = torch.stft(
                torch.from_numpy(audio.copy()),
                window,
                window // 4,
                window=torch.hann_window(window, dtype=torch.float64),
                center=True,
                pad_mode="reflect",
                return_complex=True,
            ).abs()
            mel = torch.from_numpy(mel_filters(RATE_HZ, window, bands)) @ spectrum
            logs.append(mel.clamp(1e-5).log10())
        total += float((logs[0] - logs[1]).abs().mean())
    assert value("mel_distance", decoded) == pytest.approx(total)


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't - STOP, don\u2019t stop!", ["don't", "stop", "don't", "stop"]),
        (" 'Tis 20 per_cent ", ["tis", "20", "per", "cent"]),
        ("...", []),
    ],
)
def test_text_normalisation(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("spoken", "recognised", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a c", 1),
        ("a b c", "a x c d", 2),
        ("a b c", "", 3),
        ("", "a", 1),
        ("the cat sat on the mat", "cat sat on a mat mat", 3),
    ],
)
def test_word_errors(spoken: str, recognised: str, errors: int) -> None:
    assert distance(spoken.split(), recognised.split()) == errors


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100, 48_000])
def test_repetition_of_a_pattern(rate_hz: int) -> None:
    """A share of 80 % of the power that repeats every 20 ms gives a correlation of 0.8."""
    random = np.random.default_rng(2)
    reference, other = random.standard_normal((2, 4 * rate_hz))
    pattern = np.tile(random.standard_normal(rate_hz // 50), 4 * 50)
    mixed = np.sqrt(0.8) * pattern + np.sqrt(0.2) * other
    assert score("repetition", reference, mixed, rate_hz) == pytest.approx(0.8, abs=0.04)
    assert score("repetition", reference, other, rate_hz) == pytest.approx(0, abs=0.04)
    assert score("repetition", mixed, 0.5 * mixed, rate_hz) == pytest.approx(0, abs=1e-6)


def test_repetition_of_a_tone() -> None:
    """A lost tone does not count as repetition; an added tone counts."""
    noise = np.random.default_rng(4).standard_normal(4 * RATE_HZ)
    first, second = (np.sin(2 * np.pi * hz * np.arange(len(noise)) / RATE_HZ) for hz in (6e3, 7e3))
    assert score("repetition", first, noise, RATE_HZ) == pytest.approx(0, abs=0.04)
    assert score("repetition", first, second, RATE_HZ) == pytest.approx(0, abs=0.04)
    assert score("repetition", noise, first, RATE_HZ) == pytest.approx(1, abs=0.06)


def test_repetition_below_5_khz_does_not_count() -> None:
    noise = np.random.default_rng(3).standard_normal(4 * RATE_HZ)
    tone = 10 * np.sin(2 * np.pi * 200 * np.arange(len(noise)) / RATE_HZ)
    assert score("repetition", noise, noise + tone, RATE_HZ) == pytest.approx(0, abs=1e-3)
    assert score("repetition", tone, noise, RATE_HZ) is None
    assert score("repetition", noise, 0 * noise, RATE_HZ) is None
    assert score("repetition", noise[: RATE_HZ // 2], noise[: RATE_HZ // 2], RATE_HZ) is None
    assert score("repetition", noise, noise, 8000) is None
