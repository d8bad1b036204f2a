"""The adapter for LXST, with a stub of LXST's base class."""

from types import SimpleNamespace

import numpy as np
import pytest

import chirrup
from chirrup.live.lxst import lxst_codec
from small_model import FRAME, speech_like


class Codec:
    """LXST 0.5.4 checks for this class and reads these attributes."""

    preferred_samplerate = None
    frame_quanta_ms = None
    frame_max_ms = None
    valid_frame_ms = None
    source = None
    sink = None


@pytest.fixture(scope="module")
def codec() -> chirrup.Codec:
    return chirrup.load("iris-t1")


def test_frames_of_200_ms_are_the_stream(codec: chirrup.Codec) -> None:
    ends = [lxst_codec(Codec, codec, 1000) for _ in range(2)]
    assert issubclass(type(ends[0]), Codec)
    assert (ends[0].preferred_samplerate, ends[0].frame_quanta_ms) == (24_000, 20)
    audio = speech_like(50 * FRAME)
    frames = audio.reshape(5, 10 * FRAME, 1).repeat(2, axis=2)
    coded = [ends[0].encode(frame) for frame in frames]
    assert {len(data) for data in coded} == {1 + 25}  # 20 bits a frame: 1.04 kbit/s
    decoded = np.concatenate([ends[1].decode(data) for data in coded])
    assert decoded.shape == (len(audio), 1)
    assert decoded.dtype == np.float32
    expected = codec.decode(codec.encode(audio, 1000).data[:, :50])
    assert np.abs(decoded[codec.delay_samples :, 0] - expected).max() < 1e-4


def test_other_rates_of_source_and_sink(codec: chirrup.Codec) -> None:
    one, other = (lxst_codec(Codec, codec, 1000) for _ in range(2))
    one.source, other.sink = SimpleNamespace(samplerate=48_000), SimpleNamespace(samplerate=48_000)
    audio = speech_like(48_000).reshape(5, 9600, 1)
    decoded = np.concatenate([other.decode(one.encode(frame)) for frame in audio])
    assert 0.8 * audio.size < len(decoded) <= audio.size  # the resamplers are 40 ms late each


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0c\x00\x00",
        b"\x01\x00\x00\x01",
        b"\x01" + bytes(4),
        bytes(500),
        np.random.default_rng(0).bytes(200),
    ],
)
def test_damaged_frames_are_concealed(codec: chirrup.Codec, data: bytes) -> None:
    """The duration is the duration of the frame before, or of a chunk at the beginning."""
    one, other = (lxst_codec(Codec, codec, 1000) for _ in range(2))
    coded = [one.encode(frame) for frame in speech_like(30 * FRAME).reshape(3, 10 * FRAME, 1)]
    lengths = [len(other.decode(frame)) for frame in (data, *coded, data, data)]
    assert lengths == [FRAME] + 5 * [10 * FRAME]
    assert other.damaged == 3


def test_the_longest_frame_is_decoded(codec: chirrup.Codec) -> None:
    one, other = (lxst_codec(Codec, codec, 1000) for _ in range(2))
    assert one.frame_max_ms == 1000
    coded = [one.encode(frame) for frame in speech_like(150 * FRAME).reshape(3, 50 * FRAME, 1)]
    assert [len(other.decode(frame)) for frame in coded] == 3 * [50 * FRAME]
    assert other.damaged == 0
