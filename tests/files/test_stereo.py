"""Two channels coded as mid and side: codes, decoded audio and costs."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import chirrup
from chirrup.bitstream import Reader
from chirrup.codec import Codec
from chirrup.files import FileError, decode_file, describe, encode_file
from chirrup.files.stereo import left_right, mid_side
from chirrup.files.wav import Format, wav_header
from file_samples import RATES, Pipe, noise


@pytest.fixture(scope="module")
def codec(model_folder: Path) -> Codec:
    return chirrup.load(model_folder)


def related(samples: int) -> np.ndarray:
    """Two channels that have much in common, ``[samples, 2]``."""
    both, each = noise(samples), noise(samples, 2, seed=1)
    return both + 0.3 * each


@given(st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 2), min_size=1, max_size=20))
def test_there_and_back_within_full_scale(pairs: list[tuple[float, float]]) -> None:
    audio = np.array(pairs, np.float32).T
    coded = mid_side(audio)
    assert coded.dtype == left_right(coded).dtype == np.float32
    assert np.abs(coded).max() <= 1
    np.testing.assert_allclose(left_right(coded), audio, atol=1e-7)


def test_equal_channels_are_all_mid() -> None:
    one = noise(100).T[None]
    mid, side = mid_side(np.concatenate([one, one]))
    np.testing.assert_array_equal(mid, one[0])
    assert not side.any()


def test_half_the_sum_and_half_the_difference_are_coded(codec: Codec, tmp_path: Path) -> None:
    audio = related(24_001)
    soundfile.write(tmp_path / "a.wav", audio, 24_000, subtype="FLOAT")
    coded = tmp_path / "a.chirrup"
    encode_file(codec, tmp_path / "a.wav", coded, bitrate_bps=1000, stereo="mid-side")
    left, right = audio.T
    expected = codec.encode(np.stack([(left + right) / 2, (left - right) / 2]), 1000)
    with coded.open("rb") as file:
        codes = np.concatenate([part for _, part in Reader(file).chunks()], axis=2)
    assert (codes == expected.data).mean() > 0.99
    decode_file(codec, coded, tmp_path / "b.wav", floating=True)
    decoded, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    mid, side = codec.decode(chirrup.Codes(codes, len(audio)))
    np.testing.assert_allclose(decoded, np.stack([mid + side, mid - side]).T, atol=1e-5)
    facts = describe(coded)
    assert (facts["channels"], facts["original_channels"]) == (2, 2)
    assert facts["channel_mode"] == "mid-side"
    assert facts["nominal_bitrate_bps"] == 2000


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [0, 1, 4801])
def test_length_rate_and_sides_are_kept(
    codec: Codec, tmp_path: Path, rate: int, samples: int
) -> None:
    source, coded, target = tmp_path / "a.wav", tmp_path / "a.chirrup", tmp_path / "b.wav"
    audio = np.zeros((samples, 2))
    audio[:, 0] = np.sin(np.arange(samples) * 2 * np.pi * 300 / rate) / 2
    soundfile.write(source, audio, rate)
    encode_file(codec, source, coded, stereo="mid-side")
    decode_file(codec, coded, target)
    decoded, out_rate = soundfile.read(target, always_2d=True)
    assert (decoded.shape, out_rate) == ((samples, 2), rate)
    if samples > 1:
        left, right = np.square(decoded).sum(axis=0)
        assert left > 2 * right


def test_through_pipes_as_from_files(codec: Codec, tmp_path: Path) -> None:
    audio = np.rint(related(50_001) * 32768).astype("<i2")
    soundfile.write(tmp_path / "a.wav", audio, 24_000)
    coded, decoded = io.BytesIO(), io.BytesIO()
    wav = wav_header(Format("s16", 24_000, 2), None) + audio.tobytes()
    encode_file(codec, Pipe(wav), coded, bitrate_bps=1000, stereo="mid-side")
    assert decode_file(codec, Pipe(coded.getvalue()), decoded, raw=True).samples == 50_001
    encode_file(codec, tmp_path / "a.wav", tmp_path / "a.chirrup", bitrate_bps=1000,
                stereo="mid-side")  # fmt: skip
    decode_file(codec, tmp_path / "a.chirrup", tmp_path / "b.wav")
    expected, _ = soundfile.read(tmp_path / "b.wav", dtype="int16")
    given = np.frombuffer(decoded.getvalue(), "<i2").reshape(-1, 2)
    assert given.shape == expected.shape
    assert (given == expected).mean() > 0.99


def test_a_seek_gives_the_codes_of_both(codec: Codec) -> None:
    coded = io.BytesIO()
    pcm = np.rint(related(200_000) * 32768).astype("<i2").tobytes()
    encode_file(codec, Pipe(pcm), coded, bitrate_bps=1000, raw="s16@24000x2", stereo="mid-side")
    coded.seek(0)
    reader = Reader(coded)
    whole = np.concatenate([codes for _, codes in reader.chunks()], axis=2)
    assert whole.shape[:2] == (2, 2)
    frame = reader.header.frame_at(150_000)
    start, codes = next(reader.chunks(frame))
    assert start == frame == 313
    np.testing.assert_array_equal(codes, whole[:, :, start : start + codes.shape[2]])


def test_lost_frames_are_silent_on_both_sides(codec: Codec, tmp_path: Path) -> None:
    coded = tmp_path / "a.chirrup"
    soundfile.write(tmp_path / "a.wav", related(480_000), 24_000)
    encode_file(codec, tmp_path / "a.wav", coded, bitrate_bps=1000, stereo="mid-side")
    decode_file(codec, coded, tmp_path / "whole.wav")
    data = bytearray(coded.read_bytes())
    data[len(data) // 2] ^= 1
    coded.write_bytes(data)
    result = decode_file(codec, coded, tmp_path / "bad.wav")
    assert any("are lost" in text for text in result.damage)
    whole, bad = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("whole", "bad"))
    assert whole.shape == bad.shape
    np.testing.assert_array_equal(bad[:150_000], whole[:150_000])
    differs = (bad != whole).any(axis=1).nonzero()[0]
    silent = bad[differs[0] + 24_000 : differs[0] + 36_000]
    assert np.abs(silent).max() < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_other_numbers_of_channels_have_no_side(
    codec: Codec, tmp_path: Path, channels: int
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(100, channels), 24_000)
    with pytest.raises(FileError, match=rf"need 2 channels, but .*a\.wav has {channels}:"):
        encode_file(codec, tmp_path / "a.wav", tmp_path / "a.chirrup", stereo="mid-side")
    assert not (tmp_path / "a.chirrup").exists()


def test_what_is_mixed_has_no_side(codec: Codec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(100, 2), 24_000)
    with pytest.raises(FileError, match="choose one"):
        encode_file(codec, tmp_path / "a.wav", tmp_path / "a.chirrup", stereo="mid-side", mix=True)
