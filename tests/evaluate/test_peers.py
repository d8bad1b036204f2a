"""All installed codecs, through their common interface."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from pesq import pesq

import chirrup
from chirrup.bitstream import pack
from chirrup.evaluate.peers import PEERS, Coded, ModelPeer, Peer, PeerError, find

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
RATE_HZ = 24_000
LIMIT_MS = 100


@dataclass(frozen=True)
class Floor:
    """Lower bounds of the scores of a codec on the clip.

    Attributes:
        pesq: PESQ at the lowest and the highest bitrate, about 0.2 below the measured values.
        correlation: correlation with the input at the highest bitrate; vocoders have a low one.
    """

    pesq: tuple[float, float]
    correlation: float


FLOORS = {
    "codec2": Floor((1.5, 2.0), 0.2),
    "speex-nb": Floor((1.25, 3.2), 0.8),
    "speex-wb": Floor((1.25, 3.8), 0.9),
    "lyra2": Floor((2.0, 3.2), 0.85),
    "amr-wb": Floor((2.7, 4.0), 0.95),
    "opus": Floor((2.2, 4.4), 0.99),
    "opus-cbr": Floor((1.7, 4.4), 0.99),
    "lc3-16k": Floor((3.3, 4.2), 0.98),
    "lc3-24k": Floor((4.0, 4.3), 0.98),
    "lc3-48k": Floor((4.2, 4.4), 0.99),
    "vorbis": Floor((4.1, 4.4), 0.99),
    "mp3": Floor((3.8, 4.4), 0.99),
}
PADDED_MS = {"codec2": 40, "speex-nb": 20, "speex-wb": 20}
"""Length of the frames that are padded to bytes."""
VARIABLE = {"opus": (0.75, 1.3), "vorbis": (0.5, 1.1)}
"""Range of actual over nominal bitrate on the clip, for variable bitrates."""


def test_every_codec_has_a_floor() -> None:
    assert set(FLOORS) <= set(PEERS)
    assert len(FLOORS) >= 12


@pytest.fixture(params=FLOORS)
def peer(request: pytest.FixtureRequest) -> Peer:
    return installed(request.param)


def installed(name: str) -> Peer:
    if (lack := PEERS[name].missing()) is not None:
        pytest.skip(f"{PEERS[name].label}: {lack}")
    return PEERS[name]


@cache
def clip(rate_hz: int = RATE_HZ) -> np.ndarray:
    """Return three seconds of speech that end within a word, ``float32 [samples]``."""
    audio, rate = soundfile.read(CLIP, dtype="float32")
    audio = audio[int(0.5 * rate) : int(3.5 * rate)]
    return audio if rate == rate_hz else soxr.resample(audio, rate, rate_hz)


@cache
def coded(name: str, bitrate_bps: int) -> Coded:
    return PEERS[name].code(clip(), RATE_HZ, bitrate_bps)


def aligned(decoded: np.ndarray, audio: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Return the decoded audio without its delay, as long as the input."""
    size = len(decoded) + len(audio)
    around = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(audio, size)), size)
    limit = min(LIMIT_MS * rate_hz // 1000, len(audio) - 1)
    delays = np.arange(-limit, limit + 1)
    delay = int(delays[np.argmax(around[delays])])
    moved = decoded[delay:] if delay >= 0 else np.pad(decoded, (-delay, 0))
    return np.pad(moved, (0, max(0, len(audio) - len(moved))))[: len(audio)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-20))


def wideband_pesq(audio: np.ndarray) -> float:
    decoded = soxr.resample(aligned(audio, clip()), RATE_HZ, 16_000)
    return pesq(16_000, clip(16_000), decoded, "wb")


# --- what comes back -----------------------------------------------------------------------------


def test_it_sounds_as_it_should(peer: Peer) -> None:
    low, high = (coded(peer.name, rate).audio for rate in (min(peer.bitrates_bps), top(peer)))
    scores = wideband_pesq(low[0]), wideband_pesq(high[0])
    same = correlation(aligned(high[0], clip()), clip())
    print(f"{peer.name}: PESQ {scores[0]:.2f} to {scores[1]:.2f}, correlation {same:.3f}")
    assert scores[0] < scores[1]
    assert all(np.greater(scores, FLOORS[peer.name].pesq)), scores
    assert same > FLOORS[peer.name].correlation


def top(peer: Peer) -> int:
    return max(peer.bitrates_bps)


def test_bits_are_near_the_nominal_bitrate(peer: Peer) -> None:
    seconds = len(clip()) / RATE_HZ
    low, high = VARIABLE.get(peer.name, (0.97, 1.01))
    for rate in peer.bitrates_bps:
        frame_s = PADDED_MS.get(peer.name, 0) / 1000
        nominal = 8 * np.ceil(rate * frame_s / 8) / frame_s if frame_s else rate
        bits = coded(peer.name, rate).bits
        assert low * nominal * seconds < bits < high * nominal * (seconds + 0.1), rate
        assert isinstance(bits, int)


def test_form(peer: Peer) -> None:
    result = coded(peer.name, top(peer))
    assert result.audio.dtype == np.float32
    assert result.audio.shape[0] == 1
    assert len(clip()) <= result.audio.shape[1] <= len(clip()) + RATE_HZ // 4
    assert result.encode_seconds > 0
    assert result.decode_seconds > 0


def test_the_same_again(peer: Peer) -> None:
    rate = peer.bitrates_bps[0]
    again = peer.code(clip(), RATE_HZ, rate)
    assert again.bits == coded(peer.name, rate).bits
    assert np.array_equal(again.audio, coded(peer.name, rate).audio)


def test_the_end_comes_out(peer: Peer) -> None:
    """The clip ends within its loudest vowel; the last 20 ms are compared."""
    audio = clip()[: int(2.35 * RATE_HZ)]
    end = slice(-RATE_HZ // 50, None)
    decoded = aligned(peer.code(audio, RATE_HZ, top(peer)).audio[0], audio)
    assert 0.5 < np.linalg.norm(decoded[end]) / np.linalg.norm(audio[end]) < 1.5
    if peer.name != "codec2":  # which preserves the loudness only
        assert correlation(decoded[end], audio[end]) > 0.75


def test_levels_are_kept(peer: Peer) -> None:
    """LAME normalises the level of float files, so its input has 24 bits."""
    loud = np.linalg.norm(coded(peer.name, top(peer)).audio)
    soft = np.linalg.norm(peer.code(0.1 * clip(), RATE_HZ, top(peer)).audio)
    assert abs(20 * np.log10(soft / loud) + 20) < 1
    if peer.name != "codec2":
        assert abs(20 * np.log10(loud / np.linalg.norm(clip()))) < 1.5


def test_stereo(peer: Peer) -> None:
    """Channels keep their order, whether they are coded jointly or one by one."""
    audio = np.stack([clip(), 0.5 * clip()[::-1]])[:, : 2 * RATE_HZ]
    result = peer.code(audio, RATE_HZ, top(peer))
    assert result.audio.shape[0] == 2
    for own, other, decoded in zip(audio, audio[::-1], result.audio, strict=True):
        same = correlation(aligned(decoded, own), own)
        assert same > 0.8 * FLOORS[peer.name].correlation
        if FLOORS[peer.name].correlation > 0.5:
            assert same > 2 * correlation(aligned(decoded, other), other)
    one = peer.code(audio[0], RATE_HZ, top(peer))
    if 2 not in peer.channels:
        assert np.array_equal(one.audio[0], result.audio[0])
        assert result.bits == 2 * one.bits


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100, 48_000])
def test_rates(peer: Peer, rate_hz: int) -> None:
    audio = clip(rate_hz)[: rate_hz + 7]
    result = peer.code(audio, rate_hz, top(peer))
    assert len(audio) <= result.audio.shape[1] <= len(audio) + rate_hz // 4
    same = correlation(aligned(result.audio[0], audio, rate_hz), audio)
    assert same > 0.8 * FLOORS[peer.name].correlation


@pytest.mark.parametrize("samples", [1, 4411])
def test_short_clips(peer: Peer, samples: int) -> None:
    audio = np.tile(clip(44_100)[22_050 : 22_050 + samples], (3, 1))
    for rate in (min(peer.bitrates_bps), top(peer)):
        result = peer.code(audio, 44_100, rate)
        assert result.audio.shape[0] == 3
        assert result.audio.shape[1] >= samples
        assert result.bits > 0


# --- what cannot be done -------------------------------------------------------------------------


def test_bad_input(peer: Peer) -> None:
    with pytest.raises(
        ValueError, match=r"bitrate 123 bit/s is not supported by .*" + str(top(peer))
    ):
        peer.code(clip(), RATE_HZ, 123)
    with pytest.raises(ValueError, match="empty"):
        peer.code(np.zeros(0, np.float32), RATE_HZ, top(peer))
    with pytest.raises(ValueError, match="finite"):
        peer.code(np.full(100, np.nan, np.float32), RATE_HZ, top(peer))


@pytest.mark.parametrize("name", [name for name in PEERS if name != "pcm"])
def test_a_missing_codec_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("chirrup.evaluate.peers.amr_wb.find_library", lambda name: None)
    monkeypatch.delenv("CHIRRUP_LYRA2", raising=False)
    lack = PEERS[name].missing()
    assert lack is not None
    assert "\n" not in lack
    assert any(words in lack for words in ("apt-get install ", "pip install ", "set CHIRRUP_"))
    with pytest.raises(PeerError, match="not installed"):
        PEERS[name].code(clip(), RATE_HZ, PEERS[name].bitrates_bps[0])


def test_lyra_says_which_files_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("CHIRRUP_LYRA2", str(tmp_path))
    (tmp_path / "quantizer.tflite").touch()
    lack = PEERS["lyra2"].missing()
    assert lack == f"{tmp_path} has no soundstream_encoder.tflite, lyragan.tflite"


def test_importing_the_peers_brings_none_of_their_packages() -> None:
    code = "import sys, chirrup.evaluate.peers; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "chirrup" in loaded
    assert not loaded & {"torch", "ai_edge_litert", "pesq", "pystoi", "scipy", "matplotlib"}


# --- models of this package ----------------------------------------------------------------------


def test_a_model_is_a_peer(model_folder: Path) -> None:
    peer, codec = find("iris-t1"), chirrup.load("iris-t1")
    assert (peer.name, peer.label) == ("iris-t1", "iris-t1")
    assert peer.missing() is None
    assert list(peer.bitrates_bps) == codec.bitrates_bps
    result = peer.code(clip(), RATE_HZ, 1000)
    codes = codec.encode(clip(), 1000)
    assert result.bits == 8 * len(pack(codes.data, codec.bits_per_code))
    assert np.array_equal(result.audio[0], codec.decode(codes))
    assert result.encode_seconds > 0
    stereo = peer.code(np.stack([clip(), clip()[::-1]]), RATE_HZ, 1000)
    assert np.array_equal(stereo.audio[0], result.audio[0])
    assert stereo.bits == 2 * result.bits


def test_a_model_of_a_folder_goes_to_another_process(model_folder: Path) -> None:
    peer = find(str(model_folder))
    peer.code(clip()[:4800], 24_000, 6000)
    there = pickle.loads(pickle.dumps(peer))
    again = there.code(clip()[:4801], 48_000, 6000)
    assert again.audio.shape == (1, 4802)
    assert ModelPeer(model_folder, "mine").name == "mine"
