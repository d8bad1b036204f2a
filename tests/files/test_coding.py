"""Audio files to ``.chirrup`` and back: lengths, rates, formats, pipes, damage and memory."""

import io
import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.bitstream import MAGIC, FormatError, Header, Reader, Writer
from chirrup.cli.console import print_decoded
from chirrup.codec import Codec
from chirrup.files import Decoded, FileError, decode_file, describe, encode_file
from chirrup.files.stereo import Stereo
from chirrup.files.wav import Format, wav_header
from chirrup.resampling import length_at
from file_samples import RATES, Pipe, noise


@pytest.fixture(scope="module")
def codec(model_folder: Path) -> Codec:
    return chirrup.load(model_folder)


def chirrup_file(codec: Codec, path: Path, samples: int = 100_001, channels: int = 1) -> Path:
    source = path.with_suffix(".source.wav")
    soundfile.write(source, noise(samples, channels), 24_000)
    encode_file(codec, source, path, bitrate_bps=1000)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- length, rate, channels, format ------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", ["none", "1 sample", "below a frame", "a frame", "odd"])
def test_length_and_rate_are_kept(codec: Codec, tmp_path: Path, rate: int, seconds: str) -> None:
    samples = {"none": 0, "1 sample": 1, "below a frame": 7, "a frame": rate // 50}.get(
        seconds, rate // 2 * 2 + 1
    )
    source, coded, target = tmp_path / "a.wav", tmp_path / "a.chirrup", tmp_path / "b.wav"
    soundfile.write(source, noise(samples), rate)
    encoded = encode_file(codec, source, coded, bitrate_bps=1000)
    decoded = decode_file(codec, coded, target)
    audio, out_rate = soundfile.read(target)
    assert (len(audio), out_rate) == (samples, rate)
    assert encoded.samples == decoded.samples == samples
    assert encoded.size_bytes == coded.stat().st_size
    assert describe(coded)["seconds"] == pytest.approx(samples / rate, abs=1e-12)
    assert soundfile.info(target).subtype == "PCM_16"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_formats_and_channels(codec: Codec, tmp_path: Path, suffix: str, channels: int) -> None:
    source, coded = tmp_path / f"a{suffix}", tmp_path / "a.chirrup"
    audio = noise(8001, channels)
    soundfile.write(source, audio, 16_000)
    encode_file(codec, source, coded, bitrate_bps=1000)
    target = tmp_path / f"b{suffix}"
    decode_file(codec, coded, target)
    decoded, rate = soundfile.read(target, always_2d=True)
    assert (decoded.shape, rate) == ((8001, channels), 16_000)
    assert describe(coded)["channels"] == channels
    assert describe(coded)["nominal_bitrate_bps"] == 1000 * channels


def test_channels_are_coded_one_by_one_or_mixed(codec: Codec, tmp_path: Path) -> None:
    audio = noise(24_001, 2)
    soundfile.write(tmp_path / "a.wav", audio, 24_000, subtype="FLOAT")
    encode_file(codec, tmp_path / "a.wav", tmp_path / "two.chirrup", bitrate_bps=1000)
    decode_file(codec, tmp_path / "two.chirrup", tmp_path / "two.wav", floating=True)
    two, _ = soundfile.read(tmp_path / "two.wav", dtype="float32")
    expected = codec.decode(codec.encode(audio.T, 1000)).T
    np.testing.assert_allclose(two, expected, atol=1e-5)
    encode_file(codec, tmp_path / "a.wav", tmp_path / "one.chirrup", bitrate_bps=1000, mix=True)
    decode_file(codec, tmp_path / "one.chirrup", tmp_path / "one.wav", floating=True)
    one, _ = soundfile.read(tmp_path / "one.wav", dtype="float32")
    expected = codec.decode(codec.encode(audio.mean(axis=1), 1000))
    np.testing.assert_allclose(one, expected, atol=1e-5)
    facts = describe(tmp_path / "one.chirrup")
    assert (facts["original_channels"], facts["channel_mode"]) == (2, "downmix")


def test_another_rate(codec: Codec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(44_101), 44_100)
    encode_file(codec, tmp_path / "a.wav", tmp_path / "a.chirrup", bitrate_bps=1000)
    for rate in (24_000, 8000):
        decode_file(codec, tmp_path / "a.chirrup", tmp_path / "b.wav", rate_hz=rate, force=True)
        facts = soundfile.info(tmp_path / "b.wav")
        assert (facts.samplerate, facts.frames) == (rate, length_at(44_101, 44_100, rate))


def test_clipping_is_counted_and_float_does_not_clip(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = chirrup_file(codec, tmp_path / "a.chirrup", 24_000)
    loud = np.linspace(-2, 2, 24_000, dtype=np.float32)[None]
    monkeypatch.setattr(codec, "decode_blocks", lambda *_: iter([loud]))
    result = decode_file(codec, coded, tmp_path / "b.wav")
    audio, _ = soundfile.read(tmp_path / "b.wav", dtype="int16")
    assert result.clipped_samples == 12_000
    assert (audio.min(), audio.max()) == (-32768, 32767)
    assert (np.diff(audio.astype(int)) >= 0).all()
    result = decode_file(codec, coded, tmp_path / "c.wav", floating=True)
    audio, _ = soundfile.read(tmp_path / "c.wav", dtype="float32")
    np.testing.assert_array_equal(audio, loud[0])
    assert result.clipped_samples == 0


def test_a_few_clipped_samples_are_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    for count in (2, 3):
        result = Decoded(24_000, 1, 24_000, clipped_samples=count)
        print_decoded(result, "a.chirrup", "b.wav", quiet=True)
    assert capsys.readouterr().err.count("b.wav: clipped 3 samples beyond full scale") == 1


# --- pipes -------------------------------------------------------------------------------------


def test_through_pipes_both_ways(codec: Codec) -> None:
    """Lengths are kept although the end of neither pipe is known in advance."""
    wav = wav_header(Format("s16", 44_100, 1), None)
    audio = np.rint(noise(200_001) * 32768).astype("<i2")
    coded, decoded = io.BytesIO(), io.BytesIO()
    encode_file(codec, Pipe(wav + audio.tobytes()), coded, bitrate_bps=1000)
    result = decode_file(codec, Pipe(coded.getvalue()), decoded)
    assert result.samples == 200_001
    assert soundfile.read(io.BytesIO(decoded.getvalue()))[0].shape == (200_001,)
    assert describe(Pipe(coded.getvalue()))["sample_count"] == 200_001
    bare = io.BytesIO()
    decode_file(codec, Pipe(coded.getvalue()), bare, raw=True)
    assert decoded.getvalue().endswith(bare.getvalue())
    assert len(bare.getvalue()) == 2 * 200_001


def test_a_pipe_gets_each_chunk_at_once(codec: Codec) -> None:
    target, sizes = io.BytesIO(), []

    class Watched(Pipe):
        def read(self, size: int = -1) -> bytes:
            sizes.append(len(target.getvalue()))
            return super().read(size)

    data = np.rint(noise(6 * 24_000) * 32768).astype("<i2").tobytes()
    encode_file(codec, Watched(data), target, bitrate_bps=1000, raw="s16@24000")
    assert len(set(sizes)) >= 3
    assert sizes[-1] < len(target.getvalue())


# --- memory ------------------------------------------------------------------------------------


class Silence:
    """A pipe of many seconds of 16-bit samples at 48 kHz, which are never in memory together."""

    def __init__(self, seconds: int, channels: int) -> None:
        self.left = seconds * 48_000 * 2 * channels

    def read(self, size: int, /) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


@pytest.mark.parametrize(("channels", "stereo"), [(1, "separate"), (2, "mid-side")])
def test_memory_does_not_grow_with_the_length(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, stereo: Stereo
) -> None:
    """The codec needs no time, and its blocks have a constant size."""

    def encode_blocks(
        pieces: Iterator[np.ndarray],
        codebooks: int,
        channels: int = 1,
        piece_frames: int | None = None,
    ) -> Iterator[np.ndarray]:
        samples = 0
        for piece in pieces:
            assert piece.shape[0] == channels
            assert piece.shape[1] <= 1 << 16
            samples += piece.shape[1]
            yield np.zeros((channels, codebooks, samples // 480), np.int16)
            samples %= 480

    def decode_blocks(pieces: Iterator[np.ndarray], channels: int = 1) -> Iterator[np.ndarray]:
        for piece in pieces:
            yield np.zeros((channels, 480 * piece.shape[2]), np.float32)

    monkeypatch.setattr(codec, "encode_blocks", encode_blocks)
    monkeypatch.setattr(codec, "decode_blocks", decode_blocks)
    peaks = []
    for seconds in (30, 300):
        coded, decoded = tmp_path / f"{seconds}.chirrup", tmp_path / f"{seconds}.wav"
        source = Silence(seconds, channels)
        tracemalloc.start()
        encode_file(codec, source, coded, raw=f"s16@48000x{channels}", stereo=stereo)
        decode_file(codec, coded, decoded)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert soundfile.info(decoded).frames == pytest.approx(48_000 * seconds, abs=1000)
    assert peaks[1] < 1.2 * peaks[0]


# --- what goes wrong ---------------------------------------------------------------------------


def test_a_damaged_file_gives_what_is_good(codec: Codec, tmp_path: Path) -> None:
    coded = chirrup_file(codec, tmp_path / "a.chirrup", 240_001)
    whole = decode_file(codec, coded, tmp_path / "whole.wav")
    assert whole.damage == []
    data = bytearray(coded.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.chirrup").write_bytes(data)
    result = decode_file(codec, tmp_path / "bad.chirrup", tmp_path / "bad.wav")
    assert result.samples == 240_001
    assert any("are lost" in text for text in result.damage)
    assert describe(tmp_path / "bad.chirrup", check=True)["damage"] == result.damage
    expected, _ = soundfile.read(tmp_path / "whole.wav")
    audio, _ = soundfile.read(tmp_path / "bad.wav")
    np.testing.assert_array_equal(audio[:90_000], expected[:90_000])
    (tmp_path / "cut.chirrup").write_bytes(coded.read_bytes()[: len(data) // 2])
    result = decode_file(codec, tmp_path / "cut.chirrup", tmp_path / "cut.wav")
    assert 24_000 < result.samples < 240_001
    assert any("cut off" in text for text in result.damage)


def test_other_weights_and_other_models(codec: Codec, tmp_path: Path) -> None:
    settings = {
        "sample_rate_hz": codec.sample_rate_hz,
        "original_sample_rate_hz": 24_000,
        "channels": 1,
        "original_channels": 1,
        "codebooks": 2,
        "bits_per_code": codec.bits_per_code,
        "frame_samples": codec.frame_samples,
        "delay_samples": codec.delay_samples,
        "bitrate_bps": 1000,
    }

    def write(name: str, **changes: object) -> Path:
        path = tmp_path / name
        whole = {"model": codec.name, "weights_hash": codec.weights_sha256, **settings, **changes}
        with path.open("wb") as file, Writer(file, Header(**whole)) as writer:
            writer.write(np.zeros((1, 2, 10), np.int16))
        return path

    target = tmp_path / "out.wav"
    other = write("weights.chirrup", weights_hash="0" * 32)
    with pytest.raises(FileError, match=r"other weights.*--model FOLDER"):
        decode_file(codec, other, target)
    assert not target.exists()
    assert decode_file(codec, other, target, force_model=True).samples == 10 * 480 - 240
    with pytest.raises(FileError, match=r"'unheard-of', which is not among.*--model FOLDER"):
        decode_file(None, write("name.chirrup", model="unheard-of"), tmp_path / "x.wav")
    folder = write("folder.chirrup", model=str(codec.folder))
    with pytest.raises(FileError, match="not among"):
        decode_file(None, folder, tmp_path / "x.wav")
    for changes in ({"frame_samples": 320}, {"bits_per_code": 11}, {"sample_rate_hz": 16_000}):
        with pytest.raises(FileError, match="cannot decode"):
            decode_file(codec, write("a.chirrup", **changes), tmp_path / "x.wav", force_model=True)
    with pytest.raises(FileError, match="sample rate"):
        decode_file(codec, write("b.chirrup", original_sample_rate_hz=1), tmp_path / "x.wav")
    assert not (tmp_path / "x.wav").exists()


def test_a_failure_leaves_the_folder_as_it_was(codec: Codec, tmp_path: Path) -> None:
    audio = noise(200_000)
    audio[150_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", audio, 24_000, subtype="FLOAT")
    (tmp_path / "old.chirrup").write_bytes(MAGIC + b"precious")
    before = names(tmp_path)
    for target in ("old.chirrup", "new.chirrup"):
        with pytest.raises(FileError, match=r"not a finite number at 6\.250 s"):
            encode_file(codec, tmp_path / "nan.wav", tmp_path / target, force=True)
    assert names(tmp_path) == before
    assert (tmp_path / "old.chirrup").read_bytes() == MAGIC + b"precious"


def test_devices_are_written_to_not_replaced(codec: Codec, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    coded = chirrup_file(codec, tmp_path / "a.chirrup", 4800)
    decode_file(codec, coded, fifo)
    assert fifo.is_fifo()
    assert os.read(reader, 1 << 16).startswith(b"RIFF")
    os.close(reader)


def test_no_chirrup_file(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(100), 24_000)
    with pytest.raises(FormatError, match=r"a\.wav: not a \.chirrup file"):
        describe(path)
    with pytest.raises(FormatError, match=r"a\.wav: not a \.chirrup file"):
        decode_file(codec, path, tmp_path / "b.wav")


def test_the_header_says_how_far_before_a_place_to_begin(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preroll(name: str) -> int:
        with chirrup_file(codec, tmp_path / name, samples=100).open("rb") as file:
            return Reader(file).header.preroll_frames

    for frames in (0, 70, 0xFFFF):
        monkeypatch.setattr(codec, "spec", replace(codec.spec, preroll_frames=frames))
        assert preroll(f"{frames}.chirrup") == frames


def test_metadata_and_description(codec: Codec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(24_000), 24_000)
    coded, texts = tmp_path / "a.chirrup", {"title": "Grüße", "": "x"}
    encode_file(codec, tmp_path / "a.wav", coded, bitrate_bps=6000, metadata=texts)
    facts = describe(coded, check=True)
    assert facts["metadata"] == texts
    assert facts["damage"] == []
    assert facts["bitrate_bps"] == pytest.approx(8 * coded.stat().st_size)
    with pytest.raises(FileError, match="metadata takes"):
        encode_file(codec, tmp_path / "a.wav", coded, metadata={"a": "x" * 65_000}, force=True)
    assert describe(coded)["metadata"] == texts


def test_a_code_that_no_codebook_has_is_named(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1000 entries take 10 bits, which can hold 1023."""
    coded = chirrup_file(codec, tmp_path / "a.chirrup")
    monkeypatch.setattr(codec, "codebook_size", 600)
    with pytest.raises(FileError, match=r"a\.chirrup has code \d+, which is not in the codebooks"):
        decode_file(codec, coded, tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()
