"""Properties of all metrics: the table, blanks, channels, and metrics that cannot run."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.evaluate.metrics import METRICS, Unavailable, available, perceptual, score

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
FREE = ("lsd", "lsd_low", "lsd_high", "tq_lsd", "tq_lsd_low", "tq_lsd_high")
FREE += ("mel_distance", "repetition", "si_sdr", "snr")
OFFICIAL = ("utmos", "scoreq_ref", "sheet_ssqa", "audiobox_ce")
SCORES_SHORT = {"snr", "si_sdr", "lsd", "lsd_low", "lsd_high", "tq_lsd"}
SCORES_SHORT |= {"tq_lsd_low", "tq_lsd_high", "mel_distance"}


@cache
def speech() -> tuple[np.ndarray, int]:
    """Return 2.6 seconds of speech, which DNSMOS repeats to one window."""
    audio, rate = soundfile.read(CLIP)
    return audio[rate : round(3.6 * rate)], rate


def noisy(audio: np.ndarray, snr_db: float = 15) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(audio.shape)
    return audio + noise * np.sqrt(np.square(audio).mean()) * 10 ** (-snr_db / 20)


@pytest.fixture(
    params=[name for name in METRICS if name not in OFFICIAL and not METRICS[name].joint]
)
def runs(request: pytest.FixtureRequest) -> str:
    if reason := available(request.param):
        pytest.skip(f"{request.param}: {reason}")
    return request.param


def test_the_table_is_consistent() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.unit in ("", "dB", "%", "°")
        assert metric.lowest is None or metric.highest is None or metric.lowest < metric.highest
        doc = metric.score.__doc__ or ""
        if not name.endswith(("_low", "_high")) and name != "estoi":
            for word in ("Rate:", "Reference:", "Range:", "Source:", "Blank:"):
                assert word in doc or "as ``" in doc, (name, word)
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_what_needs_numpy_only_always_runs() -> None:
    assert [available(name) for name in FREE] == [None] * len(FREE)


def test_importing_loads_no_metric_package() -> None:
    code = (
        "import sys, chirrup, numpy; before = set(sys.modules)\n"
        "import chirrup.evaluate.metrics\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - {'chirrup'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= sys.stdlib_module_names


def test_a_clip_scored_twice_gives_the_same_figure(runs: str) -> None:
    audio, rate = speech()
    np.random.seed(1)
    first = score(runs, audio, noisy(audio), rate)
    drawn = np.random.random()
    np.random.seed(2)
    second = score(runs, audio, noisy(audio), rate)
    assert first is not None
    # Sums of matrix products may differ in the last digit between calls.
    assert first == pytest.approx(second, rel=1e-12)
    np.random.seed(1)
    assert np.random.random() == drawn, "numpy's generator was moved"


def test_a_clip_is_better_than_itself_with_noise(runs: str) -> None:
    audio, rate = speech()
    clean, noise = score(runs, audio, audio, rate), score(runs, audio, noisy(audio, 0), rate)
    assert clean is not None
    assert noise is not None
    metric = METRICS[runs]
    assert clean > noise if metric.better == "higher" else clean < noise
    for value in (clean, noise):
        assert metric.lowest is None or value >= metric.lowest
        assert metric.highest is None or value <= metric.highest + 0.005


def test_the_type_of_the_samples_does_not_matter(runs: str) -> None:
    audio, rate = (speech()[0].astype(np.float32), speech()[1])
    degraded = noisy(audio).astype(np.float32)
    one = score(runs, audio, degraded, rate)
    other = score(runs, audio.astype(np.float64), degraded.astype(np.float64), rate)
    assert one == pytest.approx(other, rel=1e-9)


def test_digital_silence_is_blank(runs: str) -> None:
    audio, rate = speech()
    silence = np.zeros_like(audio)
    assert score(runs, silence, silence, rate) is None


def test_a_silent_reference_is_blank(runs: str) -> None:
    audio, rate = speech()
    if METRICS[runs].needs_reference:
        assert score(runs, np.zeros_like(audio), audio, rate) is None


def test_a_silent_decoded_signal_is_blank_or_bad_but_never_good(runs: str) -> None:
    audio, rate = speech()
    silence = np.zeros_like(audio)
    expected = {"snr": 0.0, "wer": 100.0}
    value = score(runs, audio, silence, rate)
    if runs in expected:
        assert value == expected[runs]
    elif runs in FREE and runs not in ("si_sdr", "repetition"):
        noise = score(runs, audio, noisy(audio, 30), rate)
        assert value is not None
        assert noise is not None
        assert value > 0
    else:
        assert value is None


def test_a_tenth_of_a_second_is_blank_or_a_number(runs: str) -> None:
    audio, rate = speech()
    short = audio[: rate // 10]
    value = score(runs, short, noisy(short), rate)
    if runs in SCORES_SHORT:
        assert value is not None
    elif runs != "wer":
        assert value is None


def test_one_sample_is_blank_or_a_number(runs: str) -> None:
    value = score(runs, np.array([0.5]), np.array([0.25]), 24_000)
    assert (value is not None) == (runs in ("snr", "si_sdr"))


# --- channels and bad input -----------------------------------------------------------------------


def test_a_metric_at_the_audios_rate_is_the_mean_over_channels() -> None:
    left = np.random.default_rng(0).standard_normal(24_000)
    reference = np.stack([left, left[::-1]])
    decoded = np.stack([left / 2, 0.9 * left[::-1]])
    each = [20 * np.log10(2), 20.0]
    assert score("snr", reference, decoded, 24_000) == pytest.approx(np.mean(each))
    silent = np.stack([left, 0 * left])
    assert score("snr", silent, np.stack([left / 2, left]), 24_000) == pytest.approx(each[0])


def test_a_metric_with_a_rate_of_its_own_hears_the_mean_of_the_channels() -> None:
    if reason := available("estoi"):
        pytest.skip(reason)
    audio, rate = speech()
    stereo = np.stack([audio, 0.5 * audio])
    degraded = noisy(stereo)
    mono = score("estoi", stereo.mean(axis=0), degraded.mean(axis=0), rate)
    assert score("estoi", stereo, degraded, rate) == mono


@pytest.mark.parametrize(
    ("reference", "decoded", "message"),
    [
        (np.ones(5), np.ones(6), "same channels and samples"),
        (np.ones((2, 5)), np.ones(5), "same channels and samples"),
        (np.ones(5), np.full(5, np.nan), "NaN"),
        (np.ones(0), np.ones(0), "samples"),
        (np.ones((1, 1, 5)), np.ones((1, 1, 5)), "samples"),
        (None, np.ones(5), "needs a reference"),
    ],
)
def test_bad_input_is_said(reference: np.ndarray, decoded: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score("snr", reference, decoded, 24_000)


# --- what cannot run ------------------------------------------------------------------------------

AUDIO = np.ones(24_000)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    reason = available("pesq_wb")
    assert reason is not None
    assert "pip install 'chirrup[eval]'" in reason
    with pytest.raises(Unavailable, match="pesq"):
        score("pesq_wb", AUDIO, AUDIO, 24_000)


def test_visqol_never_takes_another_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runtime of the lattice model, the package would use an exponential."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    perceptual.load_visqol_speech.cache_clear()
    with pytest.raises(Unavailable, match="chirrup"):
        score("visqol_speech", AUDIO, AUDIO, 24_000)


@pytest.mark.parametrize("name", OFFICIAL)
def test_weights_from_a_hub_stay_blank(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"CHIRRUP_{name.upper()}", raising=False)
    reason = available(name)
    assert reason is not None
    assert f"CHIRRUP_{name.upper()}" in reason
    with pytest.raises(Unavailable):
        score(name, AUDIO, AUDIO, 24_000)
