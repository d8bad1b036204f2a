"""Audio of any sample rate in signals, live streams and voices, and the resampler."""

import numpy as np
import pytest
import soxr

import chirrup
from chirrup.resampling import Resampler, length_at
from live_streams import codes_of, send
from small_model import RATE_HZ, speech_like

pytest_plugins = ["models_fixture"]

AUDIO = speech_like(2 * 44_100, 7)


@pytest.fixture(scope="module")
def focal() -> chirrup.Codec:
    """A model of two sample rates whose voice can be changed."""
    return chirrup.load("focal-small")


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100])
def test_signals(small_codec: chirrup.Codec, rate_hz: int) -> None:
    codes = small_codec.encode(AUDIO, sample_rate_hz=rate_hz)
    native = soxr.resample(AUDIO, rate_hz, RATE_HZ)
    expected = small_codec.encode(native)
    assert codes.samples == length_at(len(AUDIO), rate_hz, RATE_HZ)
    assert (codes.data[:, : expected.frames] == expected.data).mean() > 0.99
    assert len(small_codec.decode(codes)) == codes.samples


def test_a_model_of_two_rates(focal: chirrup.Codec) -> None:
    """The model takes 16 kHz and decodes to 24 kHz: 24,000 samples at 24 kHz return as 24,000."""
    audio = speech_like(24_000)
    codes = focal.encode(audio, sample_rate_hz=24_000)
    assert focal.decode(codes).shape == (24_000,)
    assert focal.encode(audio).samples == 36_000, "at its input rate by default"
    native = soxr.resample(audio, 24_000, 16_000)
    assert (codes.data == focal.encode(native).data).mean() > 0.99
    packets = send(focal.encoder(sample_rate_hz=24_000), audio)
    assert (codes_of(focal, packets) == codes.data).mean() > 0.99
    voices = [
        chirrup.in_voice(focal, [native]),
        chirrup.in_voice(focal, [audio], sample_rate_hz=24_000),
    ]
    sounds = [voice.decode(codes) for voice in voices]
    assert np.abs(sounds[0] - sounds[1]).mean() < 0.1 * np.abs(sounds[0]).mean()


@pytest.mark.parametrize("audio", [AUDIO[:30_000], np.stack([AUDIO, AUDIO[::-1]])[:, :30_000]])
def test_live_streams_of_a_stereo_model(audio: np.ndarray) -> None:
    codec = chirrup.load("spectro-small")
    encoder = codec.encoder(sample_rate_hz=44_100)
    packets = [*encoder.push(audio[..., :7001]), *encoder.push(audio[..., 7001:])]
    expected = codec.encode(audio, sample_rate_hz=44_100).data.reshape(codec.codebooks, -1)
    assert (codes_of(codec, packets + encoder.flush()) == expected).mean() > 0.99


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_live_streams(small_codec: chirrup.Codec, rate_hz: int) -> None:
    expected = small_codec.encode(AUDIO, sample_rate_hz=rate_hz)
    encoder = small_codec.encoder(sample_rate_hz=rate_hz)
    packets = send(encoder, AUDIO)
    assert (codes_of(small_codec, packets) == expected.data).mean() > 0.99
    assert send(encoder, AUDIO, [1, 20_000, 333]) == packets, "whatever the pieces, and anew"


@pytest.mark.parametrize("split", [0, 10, 20_000, 70_000])
def test_a_stream_goes_on_from_saved_state(small_codec: chirrup.Codec, split: int) -> None:
    """The samples differ by rounding, as a resampler begins elsewhere."""
    encoder = small_codec.encoder(sample_rate_hz=44_100)
    before = encoder.push(AUDIO[:split])
    other = small_codec.encoder(sample_rate_hz=44_100)
    other.push(AUDIO[:5000])
    other.restore(encoder.save())
    whole = codes_of(small_codec, before + send(encoder, AUDIO[split:]))
    again = codes_of(small_codec, before + send(other, AUDIO[split:]))
    assert again.shape == whole.shape
    assert (again == whole).mean() > 0.99


def test_a_state_of_another_sample_rate_is_refused(small_codec: chirrup.Codec) -> None:
    streams = [small_codec.encoder(sample_rate_hz=rate) for rate in (None, 24_000, 44_100, 8_000)]
    streams[0].restore(streams[1].save())
    for one, other in ((0, 2), (2, 0), (2, 3)):
        with pytest.raises(ValueError, match="an encoder of the same sample_rate_hz"):
            streams[one].restore(streams[other].save())


@pytest.mark.parametrize("rate_hz", [0, -44_100, 999, 1_000_001])
def test_rates_out_of_range_are_refused(
    small_codec: chirrup.Codec, focal: chirrup.Codec, rate_hz: int
) -> None:
    for call in (
        lambda: small_codec.encode(AUDIO, sample_rate_hz=rate_hz),
        lambda: small_codec.encoder(sample_rate_hz=rate_hz),
        lambda: chirrup.in_voice(focal, [AUDIO], sample_rate_hz=rate_hz),
    ):
        with pytest.raises(ValueError, match=f"{rate_hz} Hz is not supported: use 1000 to 1000000"):
            call()


# --- the resampler -------------------------------------------------------------------------------


@pytest.mark.parametrize("new_rate_hz", [1_000, 16_000, 44_100])
@pytest.mark.parametrize("rate_hz", [1_000, 11_025, 24_000, 44_101])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_resampler_goes_on_from_saved_state(rate_hz: int, new_rate_hz: int, share: float) -> None:
    audio = np.random.default_rng(0).normal(size=(2, 3 * rate_hz)).astype(np.float32)
    split = int(share * audio.shape[1])
    first, second = Resampler(2, rate_hz, new_rate_hz), Resampler(2, rate_hz, new_rate_hz)
    before = first.push(audio[:, :split])
    second.push(audio[:, :99])
    second.restore(first.save())
    second.restore(second.save())
    whole = [before, first.push(audio[:, split:]), first.finish()]
    again = [before, second.push(audio[:, split:]), second.finish()]
    whole, again = np.concatenate(whole, axis=1), np.concatenate(again, axis=1)
    assert whole.shape == again.shape == (2, length_at(audio.shape[1], rate_hz, new_rate_hz))
    assert np.abs(whole - again).max() < 1e-4


def test_a_resampler_keeps_no_more_than_it_needs() -> None:
    resampler = Resampler(1, 48_000, 24_000)
    for _ in range(2000):
        resampler.push(np.zeros((1, 480), np.float32))
    assert sum(piece.shape[1] for piece in resampler.past) < 0.5 * 48_000
