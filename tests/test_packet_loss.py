"""Live streams some of whose packets are lost, or are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chirrup
from chirrup.bitstream import pack_packet
from chirrup.stream import Fade
from live_streams import AUDIO, codes_of, send
from small_model import DELAY, FRAME, RATE_HZ, speech_like

pytest_plugins = ["models_fixture"]

HOLD_FRAMES, FADE_FRAMES = 5, 10
"""Of the small model, 50 frames a second."""


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


def test_a_long_gap_fades_to_silence_and_back(small_codec: chirrup.Codec) -> None:
    packets = send(small_codec.encoder(), AUDIO)
    decoder = small_codec.decoder()
    for packet in packets[:20]:
        decoder.push(packet)
    gap = [decoder.push(None) for _ in range(HOLD_FRAMES + FADE_FRAMES + 10)]
    levels = [rms(piece) for piece in gap]
    assert min(levels[:HOLD_FRAMES]) > 1e-4
    assert max(levels[HOLD_FRAMES + FADE_FRAMES :]) < 1e-12
    steps = np.abs(np.diff(np.concatenate(gap)))
    assert steps.max() < 0.2  # no click
    back = [decoder.push(packet) for packet in packets[20:45]]
    assert np.isfinite(np.concatenate(back)).all()
    assert decoder.fade.level == 1.0
    undisturbed = small_codec.decoder()
    whole = [undisturbed.push(packet) for packet in packets[:45]][20:]
    assert rms(back[0]) < rms(whole[0])
    after = np.concatenate(back[FADE_FRAMES + 3 :]) - np.concatenate(whole[FADE_FRAMES + 3 :])
    assert rms(after) < 0.1 * rms(np.concatenate(whole[FADE_FRAMES + 3 :]))


def test_a_short_gap_is_held_at_full_level(small_codec: chirrup.Codec) -> None:
    packets = send(small_codec.encoder(), AUDIO)
    decoder = small_codec.decoder()
    for packet in packets[:10]:
        decoder.push(packet)
    for _ in range(HOLD_FRAMES):
        decoder.push(None)
    assert decoder.fade.level == 1.0
    decoder.push(None)
    assert decoder.fade.level < 1.0


@pytest.mark.parametrize("frame_rate_hz", [25.0, 50.0, 689.0625])
def test_gaps_are_as_long_whatever_the_frames(frame_rate_hz: float) -> None:
    fade, frame = Fade(frame_rate_hz), np.ones(4, np.float32)
    levels = [float(fade(frame, True)[0]) for _ in range(round(frame_rate_hz))]
    held, silent = levels.index(next(x for x in levels if x < 1)), levels.index(0.0)
    assert held / frame_rate_hz == pytest.approx(0.1, abs=1.1 / frame_rate_hz)
    assert silent / frame_rate_hz == pytest.approx(0.3, abs=2.1 / frame_rate_hz)


def test_files_conceal_as_live_streams_do(small_codec: chirrup.Codec) -> None:
    """Losses before and after a block without any are not one gap."""
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


def test_a_lost_packet_is_as_long_as_its_neighbours(small_codec: chirrup.Codec) -> None:
    """Also where the next repeats less of it, or is the first of all that came."""
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
