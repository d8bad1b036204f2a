"""Live streams: samples to packets, and packets to samples."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chirrup
from chirrup.bitstream import unpack_packet
from installed_engines import needs_native
from live_streams import AUDIO, codes_of, receive, send
from small_model import DELAY, FRAME, RATE_HZ, Exported, speech_like

pytest_plugins = ["models_fixture"]


# --- in ------------------------------------------------------------------------------------------


@given(
    st.lists(st.one_of(st.integers(0, 5), st.integers(100, 3000)), max_size=12),
    st.integers(1, 4),
    st.integers(0, 2),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_pushes_of_any_size_give_the_same_packets(
    small_codec: chirrup.Codec, lengths: list[int], frames: int, redundancy: int
) -> None:
    kwargs: dict[str, Any] = {"frames_per_packet": frames, "redundancy": redundancy}
    audio = AUDIO[:12_345]
    expected = send(small_codec.encoder(800, **kwargs), audio)
    assert send(small_codec.encoder(800, **kwargs), audio, lengths) == expected


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
@pytest.mark.parametrize("bitrate_bps", [400, 1600])
def test_packets_hold_the_codes_of_encode(
    small_codec: chirrup.Codec, bitrate_bps: int, frames: int
) -> None:
    packets = send(small_codec.encoder(bitrate_bps, frames_per_packet=frames), AUDIO)
    codes, expected = codes_of(small_codec, packets), small_codec.encode(AUDIO, bitrate_bps)
    assert codes.shape == expected.data.shape
    assert (codes == expected.data).mean() >= 0.99  # of 52: a tie may fall otherwise in a block
    assert len(packets) == -(-expected.frames // frames)


def test_codes_of_a_long_stream_are_those_of_encode(small_codec: chirrup.Codec) -> None:
    audio = speech_like(6 * RATE_HZ, 4)
    codes = codes_of(small_codec, send(small_codec.encoder(), audio))
    assert (codes == small_codec.encode(audio).data).mean() >= 0.999


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_sizes_of_packets(small_codec: chirrup.Codec, frames: int) -> None:
    """A packet has a header byte and the bits of the codes. Redundancy adds two header bytes and
    its bits."""
    audio, bits = AUDIO[: 24 * FRAME - DELAY], small_codec.bits_per_code
    for count, bitrate_bps in enumerate(small_codec.bitrates_bps, 1):
        packets = send(small_codec.encoder(bitrate_bps, frames_per_packet=frames), audio)
        assert {len(packet) for packet in packets} == {1 + -(-count * frames * bits // 8)}
        encoder = small_codec.encoder(bitrate_bps, frames_per_packet=frames, redundancy=1)
        first, *others = send(encoder, audio)
        assert len(first) == 1 + -(-count * frames * bits // 8)
        assert {len(p) for p in others} == {2 + -(-(count + 1) * frames * bits // 8)}


def test_a_packet_comes_as_soon_as_its_frames_are_full(small_codec: chirrup.Codec) -> None:
    encoder = small_codec.encoder(frames_per_packet=2)
    assert encoder.push(AUDIO[:959]) == []
    assert len(encoder.push(AUDIO[959:960])) == 1
    assert len(encoder.push(AUDIO[960 : 960 + 5 * FRAME])) == 2


def test_a_flushed_stream_begins_anew(small_codec: chirrup.Codec) -> None:
    encoder = small_codec.encoder(800, frames_per_packet=3, redundancy=1)
    first = send(encoder, AUDIO)
    assert encoder.flush() == []
    assert send(encoder, AUDIO) == first
    decoder = small_codec.decoder()
    sounds = []
    for _ in range(2):
        sounds.append(np.concatenate([decoder.push(packet) for packet in first]))
        assert decoder.flush().shape == (0,)
    assert np.array_equal(*sounds)


def test_nothing_in_nothing_out(small_codec: chirrup.Codec) -> None:
    encoder = small_codec.encoder()
    assert encoder.push(np.zeros(0, np.float32)) == []
    assert encoder.flush() == []


# --- out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 239, 240, 241, 480, 481, 720, 10_000])
@pytest.mark.parametrize("frames", [1, 3])
def test_every_sample_comes_out_after_the_flush(
    small_codec: chirrup.Codec, samples: int, frames: int
) -> None:
    packets = send(small_codec.encoder(frames_per_packet=frames), AUDIO[:samples])
    sound = receive(small_codec, packets)
    assert samples + DELAY <= len(sound) < samples + DELAY + FRAME
    assert np.isfinite(sound).all()


@pytest.mark.parametrize("frames", [1, 4])
def test_sound_is_that_of_decode_but_later(small_codec: chirrup.Codec, frames: int) -> None:
    packets = send(small_codec.encoder(frames_per_packet=frames), AUDIO)
    sound = receive(small_codec, packets)
    expected = small_codec.decode(codes_of(small_codec, packets))
    assert np.allclose(sound[DELAY:], expected, atol=1e-5)


def test_packets_of_changing_bitrate_and_frames(small_codec: chirrup.Codec) -> None:
    """A sender may change its settings in the middle."""
    codes = small_codec.encode(AUDIO[: 20 * FRAME]).data
    mixed = codes[:, :16].copy()
    mixed[2:, 8:] = -1
    sender = small_codec.encoder()
    packets = sender.push(AUDIO[: 8 * FRAME])
    other = small_codec.encoder(800, frames_per_packet=4)
    other.restore(sender.save() | {"codebooks": 2})
    packets += other.push(AUDIO[8 * FRAME : 16 * FRAME])
    assert len(packets) == 10
    expected = small_codec.decode(mixed)
    assert np.allclose(receive(small_codec, packets)[DELAY:], expected, atol=1e-5)


def test_bitrate_and_redundancy_change_between_packets(small_codec: chirrup.Codec) -> None:
    """Also if frames wait for a packet. The repeated codes are those of the frames before."""
    codes = small_codec.encode(AUDIO[: 20 * FRAME], 1600).data
    encoder = small_codec.encoder(400, frames_per_packet=2, redundancy=1)
    packets = encoder.push(AUDIO[: 3 * FRAME])
    encoder.change(1600, redundancy=3)
    packets += encoder.push(AUDIO[3 * FRAME : 4 * FRAME])
    encoder.change(redundancy=0)
    packets += encoder.push(AUDIO[4 * FRAME : 6 * FRAME])
    encoder.change(800)
    packets += encoder.push(AUDIO[6 * FRAME : 8 * FRAME])
    for words, kwargs in (("no bitrate", {"bitrate_bps": 1}), ("to 2", {"redundancy": 3})):
        with pytest.raises(ValueError, match=words):
            encoder.change(**kwargs)
    encoder.change(redundancy=2)
    packets += encoder.push(AUDIO[8 * FRAME : 10 * FRAME])
    width, books = small_codec.bits_per_code, small_codec.codebooks
    parsed = [unpack_packet(packet, width, books) for packet in packets]
    assert [len(packet.codes) for packet in parsed] == [1, 4, 4, 2, 2]
    for number, packet in enumerate(parsed):
        assert np.array_equal(packet.codes, codes[: len(packet.codes), 2 * number : 2 * number + 2])
    again = [None if packet.redundant is None else packet.redundant.tolist() for packet in parsed]
    assert again == [None, codes[:3, :2].tolist(), None, None, codes[:2, 6:8].tolist()]


# --- state ---------------------------------------------------------------------------------------


def test_interleaved_streams_are_independent(small_codec: chirrup.Codec) -> None:
    signals = [speech_like(10_000, seed) for seed in range(3)]
    alone = [send(small_codec.encoder(), signal) for signal in signals]
    sounds = [receive(small_codec, packets) for packets in alone]
    encoders = [small_codec.encoder() for _ in signals]
    packets: list[list[bytes]] = [[] for _ in signals]
    for start in range(0, 10_000, 777):
        for index, (encoder, signal) in enumerate(zip(encoders, signals)):
            packets[index] += encoder.push(signal[start : start + 777])
    for index, encoder in enumerate(encoders):
        packets[index] += encoder.flush()
    assert packets == alone
    decoders = [small_codec.decoder() for _ in signals]
    pieces: list[list[np.ndarray]] = [[] for _ in signals]
    for turn in zip(*packets):
        for index, packet in enumerate(turn):
            pieces[index].append(decoders[index].push(packet))
    for index, sound in enumerate(sounds):
        assert np.array_equal(np.concatenate(pieces[index]), sound)


@pytest.mark.parametrize("split", [0, 1, 479, 480, 5_000])
def test_an_encoder_goes_on_from_saved_state(small_codec: chirrup.Codec, split: int) -> None:
    kwargs: dict[str, Any] = {"frames_per_packet": 3, "redundancy": 2}
    audio = AUDIO[:12_000]
    encoder = small_codec.encoder(1200, **kwargs)
    before = encoder.push(audio[:split])
    saved = encoder.save()
    rest = send(encoder, audio[split:])
    encoder.restore(saved)
    assert send(encoder, audio[split:]) == rest
    other = small_codec.encoder(1200, **kwargs)
    other.push(AUDIO[:3333])
    other.restore(saved)
    assert send(other, audio[split:]) == rest
    assert before + rest == send(small_codec.encoder(1200, **kwargs), audio)


def test_a_decoder_goes_on_from_saved_state_also_in_a_gap(small_codec: chirrup.Codec) -> None:
    packets: list[bytes | None] = [*send(small_codec.encoder(frames_per_packet=2), AUDIO)]
    packets[5:12] = [None] * 7
    for split in (0, 3, 8, 11, 14):
        decoder = small_codec.decoder(frames_per_packet=2)
        for packet in packets[:split]:
            decoder.push(packet)
        saved = decoder.save()
        rest = [decoder.push(packet) for packet in packets[split:]]
        other = small_codec.decoder()
        other.restore(saved)
        again = [other.push(packet) for packet in packets[split:]]
        assert np.array_equal(np.concatenate(again), np.concatenate(rest))


@needs_native
@pytest.mark.parametrize(("first", "second"), [("native", "onnx"), ("onnx", "native")])
def test_a_state_of_another_engine_is_refused(
    small_export: Exported, first: str, second: str
) -> None:
    saving, other = (chirrup.load(small_export.folder, engine=name) for name in (first, second))
    for saved, stream in (
        (saving.encoder().save(), other.encoder()),
        (saving.decoder().save(), other.decoder()),
    ):
        with pytest.raises(ValueError, match=f"load the model with the engine '{first}'"):
            stream.restore(saved)


def test_saved_state_is_plain_and_a_copy(small_codec: chirrup.Codec) -> None:
    encoder, decoder = small_codec.encoder(), small_codec.decoder()
    packets = encoder.push(AUDIO[:5000])
    decoder.push(packets[0])
    for stream in (encoder, decoder):
        values = list(plain(stream.save()))
        assert len(values) >= 5
        for value in values:
            assert isinstance(value, (np.ndarray, int, float, str))
            if isinstance(value, np.ndarray):
                value[...] = 77  # does no harm to the stream
    assert encoder.push(AUDIO[5000:10_000]) == small_codec_packets(small_codec)[10:20]
    assert np.isfinite(decoder.push(packets[1])).all()


def plain(saved: dict[str, Any]) -> Iterator[Any]:
    for value in saved.values():
        yield from plain(value) if isinstance(value, dict) else [value]


def small_codec_packets(codec: chirrup.Codec) -> list[bytes]:
    return codec.encoder().push(AUDIO[:10_000])


# --- what is refused -----------------------------------------------------------------------------


def test_wrong_settings_are_refused(small_codec: chirrup.Codec) -> None:
    for frames in (0, 5, -1):
        with pytest.raises(ValueError, match="1 to 4 frames"):
            small_codec.encoder(frames_per_packet=frames)
    for redundancy in (-1, 3):
        with pytest.raises(ValueError, match="from 0 to 2 codebooks"):
            small_codec.encoder(800, redundancy=redundancy)


@pytest.mark.parametrize(
    ("pcm", "words"),
    [
        (np.zeros((2, 480), np.float32), r"mono, \[samples\]; got \[2, 480\]"),
        (np.array([0.0, np.nan]), "not finite"),
        (np.array([np.inf]), "not finite"),
        (np.zeros(480, np.int16), "floating point"),
    ],
)
def test_wrong_samples_leave_the_stream_as_it_was(
    small_codec: chirrup.Codec, pcm: np.ndarray, words: str
) -> None:
    encoder = small_codec.encoder()
    first = encoder.push(AUDIO[:4000])
    with pytest.raises(ValueError, match=words):
        encoder.push(pcm)
    assert first + encoder.push(AUDIO[4000:10_000]) == small_codec_packets(small_codec)


@pytest.mark.parametrize("saved", [None, {}, b"x", [1]])
def test_only_a_saved_state_is_restored(small_codec: chirrup.Codec, saved: Any) -> None:
    """States of another kind of stream, or of another model with the same shapes, are rejected."""
    encoder, decoder = small_codec.encoder(), small_codec.decoder()
    other = chirrup.load("iris-t1")
    for stream, wrong in (
        (encoder, saved),
        (decoder, saved),
        (encoder, decoder.save()),
        (decoder, other.decoder().save()),
    ):
        with pytest.raises(ValueError, match=r"is not of an? (en|de)coder of .* save\(\)"):
            stream.restore(wrong)
    encoder.restore(small_codec.encoder().save())
