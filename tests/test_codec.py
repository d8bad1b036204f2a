"""The public API: signals to codes and back, on the small model's exported folder."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chirrup
from chirrup.codes import checked
from chirrup.spec import BLOCK_FRAMES
from rounding import error_db
from small_model import DELAY, FRAME, RATE_HZ, Exported, speech_like

pytest_plugins = ["models_fixture"]

LENGTHS = [1, 239, 240, 241, 479, 480, 481, 719, 720, 721, 24_000]
LENGTHS += [BLOCK_FRAMES * FRAME + extra for extra in (-241, -240, -239, -1, 0, 1, 240, 241)]


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", LENGTHS)
def test_length_is_kept(small_codec: chirrup.Codec, samples: int) -> None:
    audio = speech_like(samples)
    codes = small_codec.encode(audio)
    assert codes.data.shape == (4, -(-(samples + DELAY) // FRAME))
    assert (codes.data.dtype, codes.frames, codes.codebooks) == (np.int16, codes.data.shape[1], 4)
    assert codes.samples == samples
    sound = small_codec.decode(codes)
    assert (sound.shape, sound.dtype) == ((samples,), np.float32)
    assert np.isfinite(sound).all()


@pytest.mark.parametrize("samples", [1, 480, 24_001])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_length_and_channels_are_kept(
    small_codec: chirrup.Codec, channels: int, samples: int
) -> None:
    audio = np.stack([speech_like(samples, seed) for seed in range(channels)])
    codes = small_codec.encode(audio, 800)
    assert codes.data.shape == (channels, 2, -(-(samples + DELAY) // FRAME))
    assert small_codec.decode(codes).shape == audio.shape


def test_channels_are_coded_one_by_one(small_codec: chirrup.Codec) -> None:
    audio = np.stack([speech_like(2 * RATE_HZ, seed) for seed in range(3)])
    together = small_codec.encode(audio)
    sounds = small_codec.decode(together)
    other = small_codec.encode(np.stack([audio[0], -audio[1], 0 * audio[2]]))
    assert (other.data[0] == together.data[0]).mean() >= 0.999
    for row, codes, sound in zip(audio, together.data, sounds):
        assert (small_codec.encode(row).data == codes).mean() >= 0.997  # of 400
        assert error_db(small_codec.decode(codes)[: len(row)], sound) < -60


def test_output_is_aligned_with_the_input(small_codec: chirrup.Codec) -> None:
    """A sample does not change decoded audio more than one frame before it."""
    audio = speech_like(RATE_HZ)
    changed = audio.copy()
    changed[12_000:] = 0
    same = small_codec.decode(small_codec.encode(audio))
    other = small_codec.decode(small_codec.encode(changed))
    differs = np.flatnonzero(same != other)
    assert 12_000 - FRAME - DELAY <= differs[0] < 12_000 + FRAME


def test_float64_input_is_taken(small_codec: chirrup.Codec) -> None:
    audio = speech_like(RATE_HZ)
    codes = small_codec.encode(audio.astype(np.float64))
    assert np.array_equal(codes.data, small_codec.encode(audio).data)


def test_coding_is_repeatable_and_leaves_its_input_alone(small_codec: chirrup.Codec) -> None:
    audio = speech_like(RATE_HZ)
    before = audio.copy()
    codes = small_codec.encode(audio)
    assert np.array_equal(codes.data, small_codec.encode(audio).data)
    assert np.array_equal(audio, before)
    kept = codes.data.copy()
    assert np.array_equal(small_codec.decode(codes), small_codec.decode(codes))
    assert np.array_equal(codes.data, kept)


# --- bitrates ------------------------------------------------------------------------------------


def test_attributes(small_codec: chirrup.Codec) -> None:
    codec = small_codec
    assert (codec.sample_rate_hz, codec.channels, codec.frame_samples) == (RATE_HZ, 1, FRAME)
    assert (codec.delay_samples, codec.latency_samples) == (DELAY, FRAME + DELAY)
    assert (codec.codebooks, codec.codebook_size, codec.bits_per_code) == (4, 256, 8)
    assert codec.bitrates_bps == [400, 800, 1200, 1600]
    assert codec.frame_rate_hz == 50
    assert "small" in repr(codec)
    assert "400 to 1600" in repr(codec)


def test_a_lower_bitrate_is_the_first_codebooks_of_a_higher_one(small_codec: chirrup.Codec) -> None:
    audio = speech_like(RATE_HZ)
    every = small_codec.encode(audio, 1600)
    for count, bitrate_bps in enumerate(small_codec.bitrates_bps, 1):
        codes = small_codec.encode(audio, bitrate_bps)
        assert np.array_equal(codes.data, every.data[:count])
        cut = chirrup.Codes(every.data[:count], every.samples)
        assert np.array_equal(small_codec.decode(codes), small_codec.decode(cut))
    assert np.array_equal(small_codec.encode(audio).data, every.data)


@pytest.mark.parametrize("bitrate_bps", [0, -400, 401, 500, 2000, 400.5, 1e9])
def test_a_wrong_bitrate_lists_the_choices(small_codec: chirrup.Codec, bitrate_bps: float) -> None:
    for call in (lambda: small_codec.encode(speech_like(480), bitrate_bps), None):
        with pytest.raises(ValueError, match=r"small has no bitrate .* 400, 800, 1200, 1600"):
            call() if call else small_codec.encoder(bitrate_bps)


# --- codes ---------------------------------------------------------------------------------------


def test_codes_are_an_array(small_codec: chirrup.Codec) -> None:
    audio = speech_like(20_000)
    codes = small_codec.encode(audio)
    array = np.asarray(codes)
    assert array.dtype == np.int16
    assert np.array_equal(array, codes.data)
    assert np.asarray(codes, dtype=np.int64).dtype == np.int64
    assert not np.shares_memory(np.array(codes), codes.data)
    whole = small_codec.decode(codes)
    for dtype in (np.int16, np.int32, np.int64):
        sound = small_codec.decode(array.astype(dtype))
        assert sound.shape == (codes.frames * FRAME - DELAY,)
        assert np.array_equal(sound[: codes.samples], whole)


def test_absent_codes_are_those_left_out(small_codec: chirrup.Codec) -> None:
    codes = np.asarray(small_codec.encode(speech_like(RATE_HZ)))
    marked = codes.copy()
    marked[2:] = -1
    assert np.array_equal(small_codec.decode(marked), small_codec.decode(codes[:2]))
    lost = codes.copy()
    lost[:, 10:13] = -1
    sound, whole = small_codec.decode(lost), small_codec.decode(codes)
    assert np.isfinite(sound).all()
    begin = 10 * FRAME - DELAY
    assert np.allclose(sound[: begin - FRAME], whole[: begin - FRAME], atol=1e-5)
    assert error_db(sound[begin : begin + 3 * FRAME], whole[begin : begin + 3 * FRAME]) > -30


def test_no_frames_are_no_samples(small_codec: chirrup.Codec) -> None:
    assert small_codec.decode(np.zeros((4, 0), np.int16)).shape == (0,)
    assert small_codec.decode(np.zeros((2, 4, 0), np.int16)).shape == (2, 0)


# --- blocks --------------------------------------------------------------------------------------


def cut(x: np.ndarray, lengths: list[int]) -> Iterator[np.ndarray]:
    """Yield pieces of ``x`` along its last axis, with lengths that repeat."""
    place = index = 0
    while place < x.shape[-1]:
        yield x[..., place : place + lengths[index % len(lengths)]]
        place, index = place + lengths[index % len(lengths)], index + 1


@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=6), st.integers(1, 120_000))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_encoding_in_pieces_is_encoding_at_once(
    small_codec: chirrup.Codec, lengths: list[int], samples: int
) -> None:
    """The result is equal bit by bit, because the pieces are joined to the same blocks."""
    lengths = [max(length, samples // 500) for length in lengths]
    audio = np.stack([speech_like(samples, 1), speech_like(samples, 2)])
    pieces = list(small_codec.encode_blocks(cut(audio, lengths), 3, 2))
    assert np.array_equal(np.concatenate(pieces, axis=2), small_codec.encode(audio, 1200).data)


def test_empty_pieces_do_no_harm(small_codec: chirrup.Codec) -> None:
    audio = speech_like(5000)[None]
    pieces = [audio[:, :0], audio[:, :7], audio[:, 7:7], audio[:, 7:], audio[:, :0]]
    codes = np.concatenate(list(small_codec.encode_blocks(iter(pieces), 4)), axis=2)
    assert np.array_equal(codes[0], small_codec.encode(audio[0]).data)
    assert list(small_codec.encode_blocks(iter([]), 4)) == []
    assert list(small_codec.encode_blocks(iter([audio[:, :0]]), 4)) == []
    between = [codes[:, :, :0], codes[:, :, :5], codes[:, :, 5:5], codes[:, :, 5:]]
    sound = np.concatenate(list(small_codec.decode_blocks(iter(between))), axis=1)
    assert np.allclose(sound[0], small_codec.decode(codes[0]), atol=1e-5)


@given(st.lists(st.integers(1, 130), min_size=1, max_size=6))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_decoding_in_pieces_is_decoding_at_once(
    small_codec: chirrup.Codec, lengths: list[int]
) -> None:
    audio = np.stack([speech_like(3 * RATE_HZ, 1), speech_like(3 * RATE_HZ, 2)])
    codes = small_codec.encode(audio)
    pieces = list(small_codec.decode_blocks(cut(codes.data, lengths), 2))
    sound = np.concatenate(pieces, axis=1)
    assert sound.shape == (2, codes.frames * FRAME - DELAY)
    assert np.allclose(sound[:, : codes.samples], small_codec.decode(codes), atol=1e-5)


@pytest.mark.parametrize("block_frames", [1, 7, 400])
def test_the_size_of_blocks_cannot_be_heard(
    small_codec: chirrup.Codec, monkeypatch: pytest.MonkeyPatch, block_frames: int
) -> None:
    audio = speech_like(4 * RATE_HZ)
    codes = small_codec.encode(audio)
    sound = small_codec.decode(codes)
    monkeypatch.setattr("chirrup.spec.BLOCK_FRAMES", block_frames)
    codec = chirrup.load(small_codec.folder)
    assert codec.block_frames == block_frames
    assert (codec.encode(audio).data == codes.data).mean() >= 0.997  # of 804
    assert error_db(codec.decode(codes), sound) < -60


def test_a_wild_sample_is_heard_as_a_loud_one(small_codec: chirrup.Codec) -> None:
    wild, loud = speech_like(RATE_HZ), speech_like(RATE_HZ)
    wild[5000], loud[5000] = 1e30, 1.0
    codes = small_codec.encode(loud)
    assert np.array_equal(small_codec.encode(wild).data, codes.data)
    live = [encoder.push(x) for x in (wild, loud) for encoder in [small_codec.encoder()]]
    assert live[0] == live[1]


# --- what is refused -----------------------------------------------------------------------------

nan = np.array([0.0, np.nan], np.float32)


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (np.zeros(480, np.int16), "floating point .* got int16.* divide .* 32768"),
        (np.zeros(480, bool), "floating point"),
        (np.zeros(480, complex), "floating point"),
        (nan, "not finite"),
        (np.array([[0.0, -np.inf]]), "not finite"),
        (np.zeros(0, np.float32), "not empty"),
        (np.zeros((2, 0), np.float32), "not empty"),
        (np.zeros((0, 480), np.float32), "not empty"),
        (np.zeros((1, 1, 480), np.float32), r"\[channels, samples\].* got \[1, 1, 480\]"),
        (np.float32(0.5), r"got \[\]"),
    ],
)
def test_wrong_audio_is_refused(small_codec: chirrup.Codec, audio: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_codec.encode(audio)
    with pytest.raises(ValueError, match=words):
        checked(audio)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((5, 3), np.int16), "has 4 codebooks, got 5"),
        (np.full((4, 3), 256, np.int16), "from 0 to 255, or -1"),
        (np.full((4, 3), -2, np.int16), "from 0 to 255, or -1"),
        (np.full((4, 3), 2**40, np.int64), "from 0 to 255, or -1"),
        (np.zeros((4, 3), np.float32), r"must be integers .* float32"),
        (np.zeros(4, np.int16), r"got int16 \[4\]"),
        (np.zeros((1, 1, 4, 3), np.int16), r"\[codebooks, frames\]"),
    ],
)
def test_wrong_codes_are_refused(small_codec: chirrup.Codec, codes: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_codec.decode(codes)


# --- threads -------------------------------------------------------------------------------------


def test_threads_share_a_codec(small_export: Exported) -> None:
    """Also at the first use, when sessions and weights are loaded."""
    codec = chirrup.load(small_export.folder)
    signals = [speech_like(2 * RATE_HZ, seed) for seed in range(6)]

    def both_ways(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
        codes = codec.encode(audio)
        stream = codec.encoder()
        packets = [packet for piece in cut(audio[:9600], [700]) for packet in stream.push(piece)]
        return codes.data, codec.decode(codes), packets

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(both_ways, signals))
    for audio, (codes, sound, packets) in zip(signals, together):
        expected_codes, expected_sound, expected_packets = both_ways(audio)
        assert np.array_equal(codes, expected_codes)
        assert np.array_equal(sound, expected_sound)
        assert packets == expected_packets


def test_two_threads_a_call_give_the_same(
    small_export: Exported, small_codec: chirrup.Codec
) -> None:
    codec = chirrup.load(small_export.folder, threads=2)
    codes = small_codec.encode(speech_like(RATE_HZ))
    assert (codec.encode(speech_like(RATE_HZ)).data == codes.data).mean() >= 0.99
    assert error_db(codec.decode(codes), small_codec.decode(codes)) < -60
