"""Parts of file coding: reading of pipes, resampling, cutting and drafts."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.files import FileError
from chirrup.files.excerpt import cut
from chirrup.files.inputs import open_audio, parse_raw
from chirrup.files.outputs import open_sink
from chirrup.files.wav import Format, wav_header
from chirrup.resampling import length_at, resample_blocks
from file_samples import RATES, Pipe, noise

# --- pipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")),
        ("WAV", "DOUBLE"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_pipe_gives_what_the_file_gives(kind: str, subtype: str, channels: int) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(5001, channels), 22_050, format=kind, subtype=subtype)
    buffer.seek(0)
    expected, _ = soundfile.read(buffer, dtype="float32", always_2d=True)
    with open_audio(Pipe(buffer.getvalue())) as audio:
        assert (audio.sample_rate_hz, audio.channels) == (22_050, channels)
        blocks = np.concatenate(list(audio.blocks), axis=1)
    np.testing.assert_array_equal(blocks.T, expected)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_of_unknown_length_is_read_to_its_end(size: int) -> None:
    head = bytearray(wav_header(Format("s16", 8000, 1), None))
    head[-4:] = size.to_bytes(4, "little")
    with open_audio(Pipe(bytes(head) + bytes(2000))) as audio:
        assert sum(block.shape[1] for block in audio.blocks) == 1000


@pytest.mark.parametrize("samples", [None, 1000])
@pytest.mark.parametrize("kind", ["s16", "f32"])
def test_our_wav_head_is_read_by_others(samples: int | None, kind: str) -> None:
    form = Format(kind, 11_025, 2)
    file = io.BytesIO(wav_header(form, samples) + bytes(1000 * form.frame_bytes))
    audio, rate = soundfile.read(file)
    assert (audio.shape, rate) == ((1000, 2), 11_025)
    assert not audio.any()


@pytest.mark.parametrize(
    ("kind", "coding", "endian"),
    [
        ("u8", "PCM_U8", "LITTLE"),
        ("s24", "PCM_24", "LITTLE"),
        ("s32", "PCM_32", "LITTLE"),
        ("f64", "DOUBLE", "LITTLE"),
        ("s16be", "PCM_16", "BIG"),
        ("s32be", "PCM_32", "BIG"),
        ("f32be", "FLOAT", "BIG"),
        ("ulaw", "ULAW", "LITTLE"),
        ("alaw", "ALAW", "LITTLE"),
    ],
)
def test_types_of_raw_samples_are_those_of_libsndfile(kind: str, coding: str, endian: str) -> None:
    file = io.BytesIO()
    if coding in ("ULAW", "ALAW"):
        file.write(bytes(range(256)))
    else:
        soundfile.write(file, noise(256), 8000, format="RAW", subtype=coding, endian=endian)
    file.seek(0)
    head = {"samplerate": 8000, "channels": 1, "subtype": coding, "endian": endian}
    expected = soundfile.SoundFile(file, format="RAW", **head).read(dtype="float32")
    file.seek(0)
    with open_audio(file, f"{kind}@8000") as audio:
        assert np.array_equal(np.concatenate(list(audio.blocks), axis=1)[0], expected)


def test_raw_samples() -> None:
    audio = noise(12_001, 2)
    for kind, data in (("s16", np.rint(audio * 32768).astype("<i2")), ("f32", audio)):
        with open_audio(Pipe(data.tobytes()), f"{kind}@16000x2") as source:
            assert (source.sample_rate_hz, source.channels) == (16_000, 2)
            blocks = np.concatenate(list(source.blocks), axis=1)
        np.testing.assert_allclose(blocks.T, audio, atol=2e-5)
    assert parse_raw("s16le@8000") == Format("s16", 8000, 1)
    for wrong in ("s16", "s8@8000", "s16@8000x", "s16@x1", "s16@8000x1 "):
        with pytest.raises(FileError, match="for example s16@24000x1"):
            parse_raw(wrong)


# --- rates and lengths -------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_resampling_there_and_back_shifts_nothing(rate: int) -> None:
    time = np.arange(rate + 1) / rate
    audio = np.sin(2 * np.pi * 440 * time).astype(np.float32)[None]
    pieces = iter(np.split(audio, [1, 500, 501, rate // 2], axis=1))
    there = list(resample_blocks(pieces, 1, rate, 24_000))
    assert sum(piece.shape[1] for piece in there) == length_at(rate + 1, rate, 24_000)
    back = np.concatenate(list(resample_blocks(iter(there), 1, 24_000, rate)), axis=1)[
        :, : rate + 1
    ]
    assert back.shape == audio.shape
    middle = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(back[:, middle], audio[:, middle], atol=1e-3)


def test_cut_waits_for_the_true_length() -> None:
    blocks = [np.full((1, 10), index, np.float32) for index in range(5)]
    known: list[int | None] = [None]

    def pieces() -> Iterator[np.ndarray]:
        yield from blocks
        known[0] = 43

    parts = list(cut(pieces(), lambda: known[0], 10))
    assert sum(part.shape[1] for part in parts) == 43
    assert sum(part.shape[1] for part in cut(iter(blocks), lambda: 12, 10)) == 12
    assert sum(part.shape[1] for part in cut(iter(blocks), lambda: None, 10)) == 50
    assert sum(part.shape[1] for part in cut(iter(blocks), lambda: 99, 10)) == 50


# --- output ------------------------------------------------------------------------------------


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "opus"])
def test_a_disk_that_is_full_at_the_very_end(
    tmp_path: Path, limited_size: Callable[[int], None], ending: str
) -> None:
    """Compressed formats write their last samples when the file is closed."""
    path, audio = tmp_path / f"talk.{ending}", (20_000 * noise(48_001)).astype(np.int16)

    def write() -> None:
        with open_sink(path, 24_000, 1, len(audio), floating=False, raw=False) as sink:
            sink.write(audio)

    write()
    whole = path.read_bytes()
    limited_size(len(whole) - 1)
    with pytest.raises(FileError, match="cannot be written: File too large"):
        write()
    assert names(tmp_path) == {path.name}
    assert path.read_bytes() == whole


def test_a_format_that_cannot_be_empty_is_said_so(tmp_path: Path) -> None:
    for ending in ("flac", "mp3"):
        path = tmp_path / f"talk.{ending}"
        with (
            pytest.raises(FileError, match="cannot hold audio without samples"),
            open_sink(path, 24_000, 1, 0, floating=False, raw=False),
        ):
            pass
    assert names(tmp_path) == set()
