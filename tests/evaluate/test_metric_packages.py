"""The metrics of packages: equality with the packages' scores, and anchors on real speech."""

import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

import chirrup
from chirrup.evaluate.metrics import METRICS, available, learned, perceptual, recognition, score

ROOT = Path(__file__).parents[2]
MODULES = {"visqol-python": "visqol", "Resemblyzer": "resemblyzer"}
"""Modules of packages whose names differ by more than hyphens."""
CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
RATE_HZ = 24_000


@cache
def speech() -> np.ndarray:
    return soundfile.read(CLIP)[0]


def noisy(snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(speech()))
    noise *= np.sqrt(np.square(speech()).mean() / np.square(noise).mean())
    return speech() + noise * 10 ** (-snr_db / 20)


def needs(name: str) -> None:
    if reason := available(name):
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("name", "clean", "noise_15_db", "tolerance"),
    [
        ("pesq_wb", 4.644, 1.281, 0.002),
        ("stoi", 1.000, 0.979, 0.001),
        ("estoi", 1.000, 0.920, 0.001),
        ("visqol_speech", 4.664, 1.635, 0.01),
        ("dnsmos", 3.325, 2.576, 0.01),
        ("distillmos", 4.435, 2.895, 0.02),
        ("speaker_similarity", 1.000, 0.868, 0.01),
        ("wer", 0.0, 0.0, 5.0),
        ("snr", np.inf, 15.0, 1e-6),
    ],
)
def test_anchors(name: str, clean: float, noise_15_db: float, tolerance: float) -> None:
    needs(name)
    assert score(name, speech(), speech(), RATE_HZ) == pytest.approx(clean, abs=tolerance)
    assert score(name, speech(), noisy(15), RATE_HZ) == pytest.approx(noise_15_db, abs=tolerance)


def at(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    return soxr.resample(audio, RATE_HZ, rate_hz)


def test_pesq_is_its_packages() -> None:
    needs("pesq_wb")
    pesq = pytest.importorskip("pesq")
    expected = pesq.pesq(16_000, at(speech(), 16_000), at(noisy(10), 16_000), "wb")
    assert score("pesq_wb", speech(), noisy(10), RATE_HZ) == expected


def test_pesq_of_a_long_clip_is_the_mean_over_equal_parts() -> None:
    """PESQ's C code ends the process at 50 utterances; this clip has 70."""
    needs("pesq_wb")
    random = np.random.default_rng(0)
    bursts = np.arange(56 * 16_000) / 16_000 % 0.8 < 0.35
    reference = 0.1 * bursts * random.standard_normal(len(bursts))
    decoded = reference + 0.001 * random.standard_normal(len(bursts))
    decoded[: len(bursts) // 3] += 0.01 * random.standard_normal(len(bursts) // 3)
    pairs = zip(np.split(reference[:-2], 3), np.split(decoded[:-2], 3), strict=True)
    parts = [score("pesq_wb", *pair, 16_000) or 0 for pair in pairs]
    assert parts[0] < parts[1] - 0.5
    assert score("pesq_wb", reference, decoded, 16_000) == pytest.approx(np.mean(parts), abs=0.01)


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_is_its_packages(extended: bool) -> None:
    needs("stoi")
    pystoi = pytest.importorskip("pystoi")
    expected = pystoi.stoi(speech(), noisy(10), RATE_HZ, extended=extended)
    name = "estoi" if extended else "stoi"
    assert score(name, speech(), noisy(10), RATE_HZ) == pytest.approx(expected, abs=1e-12)


def test_dnsmos_of_a_long_clip_is_the_mean_over_its_seconds() -> None:
    needs("dnsmos")
    long = np.tile(speech(), 2)[: 11 * RATE_HZ]
    late = [long[start * RATE_HZ :][: 10 * RATE_HZ] for start in (0, 1)]
    each = [score("dnsmos", None, part, RATE_HZ) for part in late]
    assert score("dnsmos", None, long, RATE_HZ) == pytest.approx(np.mean(np.array(each)), abs=0.02)


def test_distillmos_hears_16_khz_and_no_level() -> None:
    needs("distillmos")
    audio = at(speech(), 16_000)
    one = score("distillmos", None, audio, 16_000)
    assert score("distillmos", None, 0.1 * audio, 16_000) == pytest.approx(one, abs=1e-3)
    assert score("distillmos", None, speech(), RATE_HZ) == one


def test_the_stand_ins_are_gone_after_the_import() -> None:
    import sys

    for name, stand_in in (("distillmos", "torchaudio"), ("speaker_similarity", "webrtcvad")):
        needs(name)
        module = sys.modules.get(stand_in)
        assert module is None or hasattr(module, "__file__")


def test_mel_power_for_the_speaker_encoder() -> None:
    """Values of librosa 0.11, ``feature.melspectrogram``; the first frame is half zeros."""
    time = np.arange(16_000) / 16_000
    power = learned.mel_power(np.sin(2 * np.pi * 1000 * time), 16_000, 400, 160, 40)
    assert power.shape == (40, 101)
    found = power[13, 50], power[13, 0], power[16, 0], power[5, 0]
    assert found == pytest.approx((104.519974, 40.13858, 0.370854, 0.253994), rel=1e-4)


def test_two_speakers_are_less_alike_than_one() -> None:
    needs("speaker_similarity")
    higher = soxr.resample(speech(), 1.3, 1)  # a shorter, higher voice
    size = len(higher)
    same = score("speaker_similarity", speech()[:size], speech()[-size:], RATE_HZ)
    other = score("speaker_similarity", speech()[:size], higher, RATE_HZ)
    assert same is not None
    assert other is not None
    assert other < same - 0.1


def test_words_that_are_lost_are_counted() -> None:
    needs("wer")
    cut = speech().copy()
    cut[len(cut) // 2 :] = 0
    errors, count = recognition.word_errors(speech(), cut, RATE_HZ)
    assert 15 <= count <= 25
    assert 0.25 * count < errors < 0.75 * count
    assert score("wer", speech(), cut, RATE_HZ) == pytest.approx(100 * errors / count)
    assert "recipe" in recognition.transcript(speech(), RATE_HZ)


# --- ViSQOL --------------------------------------------------------------------------------------


def test_visqol_audio_sees_what_speech_metrics_do_not() -> None:
    """ViSQOL in audio mode uses frequencies above 8 kHz."""
    needs("visqol_audio")
    clip = speech()[:RATE_HZ]
    spectrum = np.fft.rfft(clip)
    spectrum[8001 * len(clip) // RATE_HZ :] = 0
    low = np.fft.irfft(spectrum)
    whole = score("visqol_audio", clip, clip, RATE_HZ)
    cut = score("visqol_audio", clip, low, RATE_HZ)
    assert whole == pytest.approx(4.732, abs=0.001)
    assert cut is not None
    assert cut < 4.6
    needs("pesq_wb")
    pesq = score("pesq_wb", clip, low, RATE_HZ)
    assert pesq == pytest.approx(4.64, abs=0.01)


def test_visqol_speech_maps_with_the_lattice_model(capfd: pytest.CaptureFixture[str]) -> None:
    needs("visqol_speech")
    perceptual.load_visqol_speech.cache_clear()
    api: Any = perceptual.load_visqol_speech()
    assert capfd.readouterr() == ("", "")
    assert type(api._manager.quality_mapper).__name__ == "TFLiteSpeechQualityMapper"


CONFORMANCE = [
    ("visqol_audio", "guitar48_stereo", "guitar48_stereo_64kbps_aac", 4.3497),
    ("visqol_audio", "steely48_stereo", "steely48_stereo_lp7", 2.2502),
    ("visqol_audio", "harpsichord48_stereo", "harpsichord48_stereo_96kbps_mp3", 4.2237),
    ("visqol_audio", "strauss48_stereo", "strauss48_stereo_lp35", 1.3889),
    ("visqol_audio", "contrabassoon48_stereo", "contrabassoon48_stereo_24kbps_aac", 2.3468),
    ("visqol_speech", "CA01_01", "transcoded_CA01_01", 3.3129),
]


@pytest.mark.parametrize(("name", "reference", "degraded", "expected"), CONFORMANCE)
def test_visqol_conformance(name: str, reference: str, degraded: str, expected: float) -> None:
    """The values of ``conformance.h`` in google/visqol, on its ``testdata``."""
    needs(name)
    folder = os.environ.get("CHIRRUP_VISQOL_TESTDATA")
    if not folder:
        pytest.skip("set CHIRRUP_VISQOL_TESTDATA to testdata of github.com/google/visqol")
    pair, rates = [], set()
    for stem in (reference, degraded):
        audio, rate = soundfile.read(next(Path(folder).rglob(f"{stem}.wav")), always_2d=True)
        pair.append(audio.mean(axis=1))
        rates.add(rate)
    value = METRICS[name].score(pair[0], pair[1], rates.pop())
    assert value == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("extra", ["eval", "eval-all"])
def test_an_extra_has_only_what_metrics_import(extra: str) -> None:
    """The report draws its plots itself, so matplotlib, for example, is not among them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = settings["project"]["optional-dependencies"][extra]
    names = {re.split(r"[\[><=]", text)[0] for text in wanted} - {"chirrup"}
    sources = [path.read_text() for path in (ROOT / "src/chirrup/evaluate").rglob("*.py")]
    imports = r'(?:package|find_spec)\("(\w+)|^\s*(?:from|import) (\w+)'
    imported = {a or b for a, b in re.findall(imports, "\n".join(sources), re.M)}
    assert {MODULES.get(name, name.replace("-", "_")) for name in names} <= imported
