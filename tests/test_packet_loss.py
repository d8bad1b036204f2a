"""Live streams with lost and malformed packets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chirrup
from chirrup.bitstream import pack_packet
from chirrup.concealment import ConcealingDecoder
from chirrup.runtime.graph import GraphState
from live_streams import AUDIO, codes_of, send
from small_model import DELAY, FRAME, RATE_HZ, speech_like

pytest_plugins = ["models_fixture"]

HOLD_FRAMES, FADE_FRAMES = 5, 10
"""Limits of the small model, which has 50 frames per second."""


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.square(audio).mean()))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_redundancy_is_the_first_codebooks_of_the_lost_packet(
    small_codec: chirrup.Codec, frames: int
) -> None:
    audio = AUDIO[: 24 * FRAME - DELAY]
    encoder = small_codec.encoder(frames_per_packet=frames, redundancy=2)
    packets, lost = send(encoder, audio), 4
    span = slice(lost * frames, (lost + 1) * frames)
    codes = codes_of(small_codec, packets).copy()
    whole = small_codec.decode(codes)
    codes[2:, span] = -1
    coarse = small_codec.decode(codes)
    codes[:, span] = -1
    begin, end = span.start * FRAME - DELAY, span.stop * FRAME + DELAY
    errors = {}
    for name, following in (("redundant", packets[lost + 1]), ("concealed", None)):
        decoder = small_codec.decoder(frames_per_packet=frames)
        pieces = [
            decoder.push(None, following) if index == lost else decoder.push(packet)
            for index, packet in enumerate(packets)
        ]
        assert [len(piece) for piece in pieces] == [frames * FRAME] * len(packets)
        sound = np.concatenate(pieces)[DELAY:]
        expected = coarse if following else small_codec.decode(codes)
        assert np.allclose(sound, expected, atol=1e-5)
        errors[name] = rms((sound - whole)[begin:end])
    assert errors["redundant"] < 0.8 * errors["concealed"]


def test_a_following_packet_without_redundancy_changes_nothing(small_codec: chirrup.Codec) -> None:
    packets = send(small_codec.encoder(), AUDIO)
    sounds = []
    for following in (None, packets[11]):
        decoder = small_codec.decoder()
        for packet in packets[:10]:
            decoder.push(packet)
        sounds.append(decoder.push(None, following))
    assert np.array_equal(*sounds)


@given(st.lists(st.booleans(), min_size=5, max_size=40), st.integers(1, 4))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_any_loss_gives_as_many_finite_samples(
    small_codec: chirrup.Codec, arrives: list[bool], frames: int
) -> None:
    packets = send(small_codec.encoder(frames_per_packet=frames), AUDIO)
    decoder = small_codec.decoder(frames_per_packet=frames)
    for index, arrived in enumerate(arrives):
        sound = decoder.push(packets[index % 12] if arrived else None)
        assert sound.shape == (frames * FRAME,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() < 10


def test_a_long_gap_fades_to_silence_and_is_back_within_a_frame(
    small_codec: chirrup.Codec,
) -> None:
    packets = send(small_codec.encoder(), AUDIO)
    decoder = small_codec.decoder()
    for packet in packets[:20]:
        decoder.push(packet)
    gap = [decoder.push(None) for _ in range(HOLD_FRAMES + FADE_FRAMES + 10)]
    levels = [rms(piece) for piece in gap]
    assert min(levels[:HOLD_FRAMES]) > 1e-4
    assert max(levels[HOLD_FRAMES + FADE_FRAMES :]) == 0
    back = np.concatenate([decoder.push(packet) for packet in packets[20:45]])
    fresh = small_codec.decoder()
    whole = np.concatenate([fresh.push(packet) for packet in packets[20:45]])
    assert np.array_equal(back[FRAME:], whole[FRAME:]), "from the initial state, at full level"
    assert np.allclose(back[:FRAME], whole[:FRAME] * np.arange(FRAME) / FRAME)
    assert curvature(np.concatenate([*gap, back])) <= curvature(whole), "no click"


def curvature(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound, 2)).max())


def test_a_short_gap_is_held_at_full_level(small_codec: chirrup.Codec) -> None:
    packets = send(small_codec.encoder(), AUDIO)
    held, faded = small_codec.decoder(), small_codec.decoder()
    faded.decoder.hold_frames = HOLD_FRAMES - 1
    for packet in [*packets[:10], *(HOLD_FRAMES - 1) * [None]]:
        assert np.array_equal(held.push(packet), faded.push(packet))
    assert rms(faded.push(None)) < rms(held.push(None))


@pytest.mark.parametrize("model", ["iris-t1", "lrac-t1", "focal-small", "spectro-small"])
def test_a_gap_does_not_run_the_network(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the fade to silence, lost frames are not computed in signals and live streams."""
    codec = chirrup.load(model)
    codes = np.zeros((codec.codebooks, 400 * codec.chunk_frames), np.int32)
    codes[:, 8 * codec.chunk_frames : 390 * codec.chunk_frames] = -1
    live = codec.decoder()
    network, frames = live.decoder.engine, 0

    def counted(x: np.ndarray, state: GraphState) -> object:
        nonlocal frames
        frames += x.shape[2]
        return type(network).__call__(network, x, state)

    class Counted:
        initial_state = staticmethod(network.initial_state)
        __call__ = staticmethod(counted)

    monkeypatch.setitem(codec.__dict__, "_decoder", Counted())
    whole = codec.decode(codes)
    most = 18 * codec.chunk_frames + 0.3 * codec.frame_rate_hz + codec.chunk_frames
    assert frames <= most
    pieces = [live.push(pack(codec, frame)) for frame in np.split(codes, 400, axis=1)]
    heard = np.concatenate(pieces, axis=-1)[..., codec.delay_samples :]
    assert heard.shape == whole.shape
    assert np.allclose(heard, whole, atol=1e-5)


def pack(codec: chirrup.Codec, codes: np.ndarray) -> bytes | None:
    return None if codes[0, 0] < 0 else pack_packet(codes, None, codec.bits_per_code)


def test_one_stream_that_goes_on_keeps_the_others_state(small_codec: chirrup.Codec) -> None:
    """The streams of a signal become silent and start again together."""
    codes = small_codec.encode(speech_like(4 * RATE_HZ)).data
    both = np.stack([codes, codes])
    both[1, :, 30:60] = -1
    sound = small_codec.decode(both)
    assert np.allclose(sound[0], small_codec.decode(codes), atol=1e-5)
    assert np.all(sound[1, 50 * FRAME : 59 * FRAME] == 0)
    assert rms(sound[1, 61 * FRAME :]) > 0.5 * rms(sound[0, 61 * FRAME :])


@pytest.mark.parametrize("model", ["small", "lrac-t1", "spectro-small", "tq-small"])
def test_gaps_are_as_long_whatever_the_frames(small_codec: chirrup.Codec, model: str) -> None:
    codec = small_codec if model == "small" else chirrup.load(model)
    decoder = ConcealingDecoder(codec.spec, codec.engines()[1])
    frames = round(0.5 * codec.frame_rate_hz)
    ones = np.ones((1, 1, frames * codec.frame_samples), np.float32)
    sound = decoder._at_level(ones, np.arange(frames + 1)[None])[0, 0]
    frame = 1 / codec.frame_rate_hz
    held, silent = (np.argmax(sound < level) / codec.sample_rate_hz for level in (1, 1e-6))
    assert held == pytest.approx(0.1, abs=frame)
    assert silent == pytest.approx(0.3, abs=frame)


def test_files_conceal_as_live_streams_do(small_codec: chirrup.Codec) -> None:
    """Losses before and after a block without losses are separate gaps."""
    codes = small_codec.encode(speech_like(4 * RATE_HZ)).data.copy()
    codes[:, [*range(45, 50), *range(100, 103), *range(151, 160)]] = -1
    decoder = small_codec.decoder()
    live = [
        decoder.push(
            None if frame[0] < 0 else pack_packet(frame[:, None], None, small_codec.bits_per_code)
        )
        for frame in codes.T
    ]
    heard = np.concatenate(live)[DELAY:]
    for size in (7, 50, 51, 1000):
        pieces = iter(np.split(codes[None], range(size, codes.shape[1], size), axis=2))
        sound = np.concatenate(list(small_codec.decode_blocks(pieces)), axis=1)[0]
        assert np.allclose(sound, heard, atol=1e-5), size


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_a_model_may_repeat_the_last_frame_in_place_of_lost_ones(size: int) -> None:
    """Also across calls and in a gap at the start, which has nothing to repeat."""
    codec = chirrup.load("lrac-t1")
    assert codec.spec.lost_frames == "repeat"
    codes = codec.encode(speech_like(2 * RATE_HZ), 3000).data[:, :120].astype(np.int32)
    codes[2:, 20] = -1  # a frame of which the redundancy has arrived
    filled, lost = codes.copy(), codes.copy()
    for gap in (slice(0, 2), slice(21, 22), slice(49, 53), slice(99, 100)):
        lost[:, gap] = -1
        filled[:, gap] = filled[:, gap.start - 1 : gap.start] if gap.start else -1
    saved, pieces = codec.decoder().save(), []
    for part in np.split(lost, range(size, lost.shape[1], size), axis=1):
        decoder = codec.decoder()
        decoder.restore(saved)
        pieces.append(decoder.push_codes(part))
        saved = decoder.save()
    expected = codec.decoder().push_codes(filled)
    assert np.allclose(np.concatenate(pieces), expected, atol=1e-5)
    absent = codec.decoder()
    absent.decoder.repeats = False
    assert rms(absent.push_codes(lost) - expected) > 0.01 * rms(expected)


def test_a_lost_packet_is_as_long_as_its_neighbours(small_codec: chirrup.Codec) -> None:
    """Also if the next packet repeats fewer frames, or is the first packet that arrives."""
    codes, again = np.ones((4, 2), np.int16), np.ones((2, 1), np.int16)
    later = pack_packet(codes, again, small_codec.bits_per_code)
    decoder = small_codec.decoder()
    assert decoder.push(None, later).shape == (2 * FRAME,)
    decoder.push(later)
    assert decoder.push(None, later).shape == (2 * FRAME,)


@pytest.mark.parametrize("frames", [1, 3])
def test_loss_from_the_very_start(small_codec: chirrup.Codec, frames: int) -> None:
    decoder = small_codec.decoder(frames_per_packet=frames)
    assert decoder.push(None).shape == (frames * FRAME,)


MALFORMED = [b"", b"\x00", b"\xff\xff\xff", b"\x40\x01\x02", b"\x01", b"\x00" + bytes(5)]


@pytest.mark.parametrize("packet", MALFORMED)
def test_a_malformed_packet_leaves_the_stream_as_it_was(
    small_codec: chirrup.Codec, packet: bytes
) -> None:
    packets = send(small_codec.encoder(), AUDIO)
    decoder, other = small_codec.decoder(), small_codec.decoder()
    for good in packets[:5]:
        decoder.push(good)
        other.push(good)
    with pytest.raises(chirrup.FormatError):
        decoder.push(packet)
    with pytest.raises(chirrup.FormatError):
        decoder.push(None, packet)
    for good in [None, *packets[6:10]]:
        assert np.array_equal(decoder.push(good), other.push(good))
