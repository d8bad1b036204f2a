"""The input of encoders on every path has no offset, no overload and no subnormal numbers."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup import conditioning
from chirrup.conditioning import TOLERATED_OFFSET, Conditioner
from chirrup.files import encode_file
from chirrup.runtime.graph import Graph
from live_streams import codes_of, send
from small_model import RATE_HZ, speech_like

pytest_plugins = ["models_fixture"]

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    return soundfile.read(CLIP, dtype="float32")[0]


@pytest.fixture(scope="module")
def codec() -> chirrup.Codec:
    """A model of two sample rates whose voice can be changed."""
    return chirrup.load("focal-small")


# --- every path ----------------------------------------------------------------------------------


def whole(codec: chirrup.Codec, audio: np.ndarray) -> None:
    codec.encode(audio)


def whole_resampled(codec: chirrup.Codec, audio: np.ndarray) -> None:
    codec.encode(audio, sample_rate_hz=44_100)


def live(codec: chirrup.Codec, audio: np.ndarray) -> None:
    send(codec.encoder(), audio, [700, 5000])


def live_resampled(codec: chirrup.Codec, audio: np.ndarray) -> None:
    send(codec.encoder(sample_rate_hz=48_000), audio)


def a_file(codec: chirrup.Codec, audio: np.ndarray) -> None:
    source = io.BytesIO(audio.astype("<f4").tobytes())
    encode_file(codec, source, io.BytesIO(), raw="f32@22050")


def a_voice(codec: chirrup.Codec, audio: np.ndarray) -> None:
    """A second of noise follows, since a silent recording of a voice is refused."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(codec.input_rate_hz)
    chirrup.in_voice(codec, [np.concatenate([audio, noise.astype(np.float32)])])


@pytest.mark.parametrize("path", [whole, whole_resampled, live, live_resampled, a_file, a_voice])
@pytest.mark.parametrize("scale", [1e30, 8.0, 1e-37, 1e-39, 1e-42])
def test_what_reaches_an_encoder(
    codec: chirrup.Codec,
    monkeypatch: pytest.MonkeyPatch,
    path: Callable[[chirrup.Codec, np.ndarray], None],
    scale: float,
) -> None:
    """Subnormal samples made spectro-small's encoder six times slower."""
    reached: list[np.ndarray] = []
    run = Graph.__call__

    def watched(self: Graph, x: np.ndarray, state: dict) -> object:
        if self.part == "encoder":
            reached.append(x.ravel())
        return run(self, x, state)

    monkeypatch.setattr(Graph, "__call__", watched)
    audio = (speech_like(8_000) * 2 * scale).astype(np.float32)
    audio[:4000] = 0  # and a resampler's ringing before the speech
    path(codec, audio)
    samples = np.abs(np.concatenate(reached))
    assert samples.max() <= 1
    assert np.all((samples == 0) | (samples >= 1e-15))
    assert np.any(samples > 0) == (scale > 1 or path is a_voice)


# --- an overload ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "equal"), [("iris-t1", 0.75), ("iris-t2", 0.3)])
def test_speech_after_an_overload_is_what_it_is_without_it(
    talk: np.ndarray, model: str, equal: float
) -> None:
    """A square wave of 0.2 s at 18 dB above full scale.

    Without limiting, 49 % and 10 % of the first codes were equal, and PESQ was lower by 0.5 for
    half a minute.
    """
    codec, overloaded = chirrup.load(model), talk.copy()
    time = np.arange(4800) / 24_000
    overloaded[12_000:16_800] = 8 * np.sign(np.sin(2 * np.pi * 440 * time) + 1e-9)
    found, expected = (codec.encode(x).data[0, 100:] for x in (overloaded, talk))
    assert (found == expected).mean() > equal


# --- an offset -----------------------------------------------------------------------------------


def pieces(x: np.ndarray, sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    place = index = 0
    while place < x.shape[1]:
        yield x[:, place : place + sizes[index % len(sizes)]]
        place, index = place + sizes[index % len(sizes)], index + 1


@pytest.mark.parametrize("sizes", [(1,), (479,), (480, 3, 5000), (50_000,)])
def test_samples_are_the_same_whatever_the_pieces(sizes: tuple[int, ...]) -> None:
    audio = np.stack([speech_like(12_345, 1) + 0.1, speech_like(12_345, 2) - 0.02])
    audio = audio.astype(np.float32)
    at_once, conditioner = Conditioner(2, 480, RATE_HZ), Conditioner(2, 480, RATE_HZ)
    expected = np.concatenate([at_once.push(audio), at_once.finish(135)], axis=1)
    parts = []
    for index, piece in enumerate(pieces(audio, sizes)):
        if index % 3 == 2:
            saved = conditioner.save()
            conditioner = Conditioner(2, 480, RATE_HZ)
            conditioner.restore(saved)
        parts.append(conditioner.push(piece))
    parts.append(conditioner.finish(135))
    assert np.array_equal(np.concatenate(parts, axis=1), expected)
    assert expected.shape == (2, 12_480)


@pytest.mark.parametrize("offset", [0.0, 0.5 * TOLERATED_OFFSET, 0.05, -0.2])
@pytest.mark.parametrize(("frame", "rate_hz"), [(480, 24_000), (64, 44_100), (1920, 48_000)])
def test_an_offset_goes_and_nothing_else(offset: float, frame: int, rate_hz: int) -> None:
    conditioner = Conditioner(1, frame, rate_hz)
    time = np.arange(frame * (4 * rate_hz // frame)) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time, dtype=np.float32)[None]
    found = conditioner.push(tone + np.float32(offset))
    left = found - tone
    assert abs(left[:, : rate_hz // 5].mean()) < 0.5 * abs(offset) + 2e-3
    settled, tolerated = left[:, rate_hz:], np.clip(offset, -TOLERATED_OFFSET, TOLERATED_OFFSET)
    assert np.abs(settled - tolerated).max() < 0.05 * abs(offset) + 1e-4
    assert np.abs(settled[:, -rate_hz:] - tolerated).max() < 0.01 * abs(offset) + 2e-4
    if abs(offset) <= TOLERATED_OFFSET:
        assert np.array_equal(found[:, rate_hz:], (tone + np.float32(offset))[:, rate_hz:])
    assert np.abs(conditioner.finish(10 * frame)).max() < 1e-3, "no step at the end"


def test_a_thump_is_no_offset() -> None:
    """The effect of one second far beyond full scale ends as soon as the effect of an offset of
    0.25."""
    audio = np.zeros((1, 3 * RATE_HZ), np.float32)
    audio[:, :RATE_HZ] = 1e9
    left = Conditioner(1, 480, RATE_HZ).push(audio)[0]
    assert np.all(left[:RATE_HZ] == 1)
    assert np.abs(left[RATE_HZ:]).max() < 0.25
    assert np.abs(left[2 * RATE_HZ :]).max() < 0.1


@pytest.mark.parametrize("offset", [0.1, 0.2])
def test_codes_of_speech_with_an_offset(talk: np.ndarray, offset: float) -> None:
    """Without the conditioner 39 and 23 % of iris-t1's first codes were equal."""
    codec, speech = chirrup.load("iris-t1"), talk[: 3 * RATE_HZ]
    found = codec.encode(speech + np.float32(offset)).data[0, 25:]
    expected = codec.encode(speech).data[0, 25:]
    assert (found == expected).mean() > 0.6


def test_codes_of_clean_speech_stay(talk: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 10 clips of speech_test, 0.3 % of the frames of iris-t1 change. On this clip none
    change."""
    codec = chirrup.load("iris-t1")
    found = codec.encode(talk)
    monkeypatch.setattr(conditioning, "TOLERATED_OFFSET", 10.0)
    changed = (found.data != codec.encode(talk).data).any(axis=0)
    assert changed.mean() < 0.02


def test_live_codes_of_speech_with_an_offset_are_those_of_the_signal(
    small_codec: chirrup.Codec,
) -> None:
    """Also in the padded end of a signal that is shorter than a block."""
    for samples in (700, 12_345, 60_000):
        audio = speech_like(samples) + np.float32(0.1)
        expected = small_codec.encode(audio).data
        for sizes in ([], [3, 5000], [480] * 20):
            codes = codes_of(small_codec, send(small_codec.encoder(), audio, sizes))
            assert codes.shape == expected.shape
            assert (codes == expected).mean() >= 0.99
