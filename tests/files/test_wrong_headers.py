"""Files with wrong headers: files and pipes give the same samples, and a note."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.bitstream import Reader
from chirrup.data.audio import BadAudioError, opened, read
from chirrup.evaluate.clips import read_clip
from chirrup.files import FileError, decode_file, describe, encode_file
from chirrup.files.about import describe_audio
from chirrup.files.inputs import Source, open_audio
from chirrup.files.mp3 import frame_bytes
from chirrup.files.outputs import open_sink
from chirrup.files.sounds import open_sound
from file_samples import Pipe, noise

RATE, SAMPLES = 8000, 24_000
AUDIO = (np.arange(SAMPLES) % 200 * 100 - 9_000).astype("<i2")
BYTES = AUDIO.nbytes
LIST = b"LIST" + struct.pack("<I", 15) + b"INFOISFT" + struct.pack("<I", 3) + b"abc"
ODD = b"LIST" + struct.pack("<I", 11) + b"INFOabcdefg"
NONE = "unfinished: the file is read to its end"


def wav(
    data: int = BYTES,
    riff: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    code: int = 1,
    magic: bytes = b"RIFF",
) -> bytes:
    """Return a WAV file with 48,000 bytes of samples.

    Args:
        data: stated size of the samples in bytes.
        riff: stated size of the RIFF; by default it agrees with the other sizes.
        before: chunks before the format.
        after: chunks after the samples.
        code: format tag, 1 for PCM and 7 for mu-law.
        magic: first bytes of the file.
    """
    bits = 16 if code == 1 else 8
    form = struct.pack("<IHHIIHH", 16, code, 1, RATE, RATE * bits // 8, bits // 8, bits)
    riff = 36 + len(before) + data + len(after) if riff is None else riff
    head = magic + struct.pack("<I", riff & 0xFFFFFFFF) + b"WAVE" + before + b"fmt " + form
    return head + b"data" + struct.pack("<I", data) + AUDIO.tobytes() + after


def read_all(source: Source) -> tuple[np.ndarray, int | None, list[str]]:
    with open_audio(source) as audio:
        blocks = [block[0] for block in audio.blocks]
        audio.finish()
        return np.concatenate([np.zeros(0), *blocks]), audio.samples, audio.notes


DS64 = b"ds64" + struct.pack("<IQQQI", 28, 2**40, 2**63, 2**62, 0)
JUNK = b"JUNK" + struct.pack("<I", 4036) + bytes(4036)
CASES: dict[str, tuple[bytes, int | None, str]] = {
    # name: the file, samples that a pipe promises, the note
    "right": (wav(), SAMPLES, ""),
    "chunks after": (wav(after=LIST + b"\0"), SAMPLES, ""),
    "never finished": (wav(0, 0), None, NONE),
    "only a head": (wav(0, 36), None, NONE),
    "all but the data": (wav(0, 36 + BYTES), None, NONE),
    "AVAudioFile": (wav(0, 4088, before=JUNK), None, NONE),
    "no sizes": (wav(0xFFFFFFFF, 0xFFFFFFFF), None, ""),
    "0xFFFFFFDB": (wav(0xFFFFFFDB, 0xFFFFFFFF), None, ""),
    "0xFFFFFFFE": (wav(0xFFFFFFFE, 0xFFFFFFFF), None, ""),
    "sox": (wav(0x7FFFF000), None, "file: 2147479552 bytes of samples, but it has 48000"),
    "arecord": (wav(0x80000000), None, "file: 2147483648 bytes of samples, but it has 48000"),
    "0x7FFFFFFF": (wav(0x7FFFFFFF), None, "file: 2147483647 bytes of samples, but it has 48000"),
    "twice": (wav(2 * BYTES), 2 * SAMPLES, "states"),
    "RF64 of 2^63": (wav(0xFFFFFFFF, before=DS64, magic=b"RF64"), None, ""),
    "no pad byte": (wav(before=LIST), SAMPLES, ""),
    "no pad byte, never finished": (wav(0, 0, before=LIST), None, NONE),
    "a pad byte": (wav(before=LIST + b"\0"), SAMPLES, ""),
    "not a list": (wav(before=ODD + b"\0"), SAMPLES, ""),
    "another one behind": (
        wav(after=wav()[:1000]),
        SAMPLES,
        "skipped 1000 bytes after its end (another WAV",
    ),
    "bytes behind": (
        wav(riff=BYTES + 36, after=b"\1\2\3\4" * 99),
        SAMPLES,
        "skipped 396 bytes",
    ),
    "a FLAC behind": (
        wav(riff=BYTES + 36, after=b"fLaC" + bytes(96)),
        SAMPLES,
        "skipped 100 bytes",
    ),
}


@pytest.mark.parametrize("by", ["file", "pipe"])
@pytest.mark.parametrize("name", CASES)
def test_a_file_and_a_pipe_give_all_samples(tmp_path: Path, name: str, by: str) -> None:
    data, promised, note = CASES[name]
    (tmp_path / "a.wav").write_bytes(data)
    found, samples, notes = read_all(tmp_path / "a.wav" if by == "file" else Pipe(data))
    np.testing.assert_array_equal(found * 32768, AUDIO)
    assert samples in ((SAMPLES,) if by == "file" else (promised,))
    if note.startswith("file: "):
        note = note.removeprefix("file: ") if by == "file" else ""
    assert len(notes) == bool(note)
    assert note in "".join(notes)


def test_less_than_promised_is_said_so(tmp_path: Path) -> None:
    data = wav()[: 44 + 2000]
    (tmp_path / "a.wav").write_bytes(data)
    found, _, notes = read_all(tmp_path / "a.wav")
    assert len(found) == 1000
    assert notes == ["its header states 48000 bytes of samples, but it has 2000"]
    found, _, notes = read_all(Pipe(data))
    assert len(found) == 1000
    assert notes == ["its header states 3.00 s, but it has 0.12 s"]


@pytest.mark.parametrize(
    ("form", "note"),
    [
        ("WAV", r"its header states 96000 bytes of samples, but it has 56044"),
        ("RF64", r"its header states 96000 bytes of samples, but it has 55\d+"),
        ("AIFF", r"its header states 960\d+ bytes, but it has 56088"),
        ("AU", r"its header states 96000 bytes, but it has 56088"),
        ("W64", r"its header states 961\d+ bytes, but it has 56088"),
        ("OGG", "its last page is missing"),
        ("MP3", r"its header states 2.00 s, but it has 1.\d\d s"),
    ],
)
def test_a_file_whose_end_is_missing(tmp_path: Path, form: str, note: str) -> None:
    """`encode` codes what there is, with a warning. A corpus does without such a recording."""
    path = tmp_path / f"a.{form.lower()}"
    audio = np.random.default_rng(0).normal(0, 0.1, 48_000)
    soundfile.write(path, audio, 24_000, format=form)
    with opened(path) as file:
        assert read(file).shape == (1, 48_000)
    assert read_all(path)[2] == []
    data = path.read_bytes()
    path.write_bytes(data[: 56_088 if len(data) > 96_000 else len(data) * 6 // 10])
    samples, _, (found,) = read_all(path)
    assert 12_000 < len(samples) < 30_000
    assert re.fullmatch(note, found), found
    with pytest.raises(BadAudioError, match="damaged: it"), opened(path) as file:
        read(file)


@pytest.mark.parametrize("data", [BYTES + 44, 0x80000000])
def test_a_header_that_counts_itself_or_is_a_placeholder(tmp_path: Path, data: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(data))
    with opened(tmp_path / "a.wav") as file:
        assert read(file).shape == (1, SAMPLES)


def test_fewer_than_there_are_is_said_so(tmp_path: Path) -> None:
    """A pipe is read only to the end of the samples, because the rest may be for another reader."""
    (tmp_path / "a.wav").write_bytes(wav(BYTES // 2))
    note = "skipped 24000 bytes after its end"
    for source in (tmp_path / "a.wav", Pipe(wav(BYTES // 2))):
        found, _, notes = read_all(source)
        assert (len(found), notes) == (SAMPLES // 2, [note])


def test_half_a_sample_is_said_so() -> None:
    with open_audio(Pipe(bytes(4001)), "s16@8000x2") as audio:
        assert sum(block.shape[1] for block in audio.blocks) == 1000
    assert audio.notes == ["it ends within a sample: skipped the last 1 byte"]


def test_no_samples_but_chunks_are_empty(tmp_path: Path) -> None:
    for after in (b"", LIST + b"\0", b"xtra" + struct.pack("<I", 4) + b"data"):
        head = wav(0, after=after)
        data = head[:44] + after
        (tmp_path / "a.wav").write_bytes(data)
        for source in (tmp_path / "a.wav", Pipe(data)):
            found, samples, notes = read_all(source)
            assert (len(found), samples, notes) == (0, 0, [])


def test_a_coding_that_needs_a_decoder_is_never_silently_empty(tmp_path: Path) -> None:
    data = wav(0, 0, code=7, before=LIST)
    (tmp_path / "a.wav").write_bytes(data)
    for source in (tmp_path / "a.wav", Pipe(data)):
        found, _, notes = read_all(source)
        assert len(found) == BYTES
        assert NONE in notes[0]


def test_what_has_no_samples_in_many_bytes_is_refused(tmp_path: Path) -> None:
    """libsndfile does not find the end of this Ogg file, and thus no samples."""
    audio = np.random.default_rng(0).normal(0, 0.1, 240_000)
    soundfile.write(tmp_path / "a.ogg", audio, 24_000)
    data = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(data[:7000])
    with pytest.raises(FileError, match="it has no samples in"):
        read_all(tmp_path / "a.ogg")


@pytest.mark.parametrize(("place", "value"), [(20, 0x20), (23, 0x80), (34, 0x40)])
def test_a_format_that_libsndfile_refuses(tmp_path: Path, place: int, value: int) -> None:
    """An unknown coding, 32,769 channels, samples of 64 bits."""
    data = bytearray(wav())
    data[place] = value
    (tmp_path / "a.wav").write_bytes(data)
    for source in (tmp_path / "a.wav", Pipe(bytes(data))):
        with pytest.raises(FileError):
            read_all(source)


@pytest.mark.parametrize("by", ["file", "pipe"])
@pytest.mark.parametrize("ending", ["flac", "ogg", "opus", "mp3"])
def test_another_file_behind_is_said_so(tmp_path: Path, ending: str, by: str) -> None:
    """libsndfile reads only the first file."""
    path = tmp_path / f"a.{ending}"
    with open_sink(path, 24_000, 1, 48_000) as sink:
        sink.write(noise(48_000))
    data = path.read_bytes()
    assert read_all(path)[2] == []
    path.write_bytes(data + data)
    found, _, notes = read_all(path if by == "file" else Pipe(data + data))
    assert len(found) == 48_000
    (note,) = notes
    assert re.fullmatch(
        r"another (FLAC|Ogg|MP3) file begins at byte \d+: only the first one is read", note
    )
    if ending != "mp3":
        assert f"begins at byte {len(data)}:" in note


@pytest.mark.parametrize("name", ["never finished", "no pad byte", "another one behind"])
def test_evaluations_and_corpora_read_the_same(tmp_path: Path, name: str) -> None:
    """Training uses the same function."""
    (tmp_path / "a.wav").write_bytes(CASES[name][0])
    audio, rate = read_clip(tmp_path / "a.wav")
    np.testing.assert_array_equal(audio[0] * 32768, AUDIO)
    for source in (tmp_path / "a.wav", io.BytesIO(CASES[name][0])):
        with opened(source) as file:
            np.testing.assert_array_equal(read(file)[0] * 32768, AUDIO)
            np.testing.assert_array_equal(read(file, 100, 200)[0] * 32768, AUDIO[100:200])
            assert file.samplerate == rate == RATE


@pytest.mark.parametrize("name", ["arecord", "sox", "no sizes", "never finished"])
def test_what_is_coded_of_a_placeholder_promises_nothing(model_folder: Path, name: str) -> None:
    coded, heard = io.BytesIO(), io.BytesIO()
    codec = chirrup.load(model_folder)
    encode_file(codec, Pipe(CASES[name][0]), coded, bitrate_bps=1000)
    assert Reader(io.BytesIO(coded.getvalue())).header.sample_count is None
    assert describe(Pipe(coded.getvalue()))["sample_count"] == SAMPLES
    assert decode_file(codec, Pipe(coded.getvalue()[:-100]), heard).seconds < 4
    assert heard.getvalue()[40:44] == b"\xff\xff\xff\xff", "an unknown size"


def flac_of_unknown_length() -> tuple[bytes, np.ndarray]:
    """Return a FLAC file as an encoder writes it to a pipe, and its samples."""
    file = io.BytesIO()
    soundfile.write(file, noise(SAMPLES, 2), RATE, format="FLAC")
    samples, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    data = bytearray(file.getvalue())
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    return bytes(data), samples


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\1\2" + bytes(130)])
def test_flac_that_does_not_state_its_length(tmp_path: Path, tag: bytes) -> None:
    data, audio = flac_of_unknown_length()
    path = tmp_path / "a.flac"
    path.write_bytes(tag + data)
    for source in (path, Pipe(tag + data)):
        found, samples, notes = read_all(source)
        np.testing.assert_array_equal(found, audio[:, 0])
        assert (samples, notes) == (SAMPLES, [])
    for source in (path, io.BytesIO(tag + data)):
        with opened(source) as file:
            np.testing.assert_array_equal(read(file).T, audio)
            np.testing.assert_array_equal(read(file, SAMPLES - 100).T, audio[-100:])
    np.testing.assert_array_equal(read_clip(path)[0].T, audio)
    assert describe_audio(path)["seconds"] == SAMPLES / RATE


def test_flac_that_does_not_state_its_length_and_is_cut_off(tmp_path: Path) -> None:
    data, _ = flac_of_unknown_length()
    path = tmp_path / "a.flac"
    path.write_bytes((data + data[86:])[: len(data) * 8 // 5])
    _, _, (note,) = read_all(path)
    assert re.fullmatch(r"it is damaged: only the first \d\.\d\d s can be read", note)
    with pytest.raises(BadAudioError, match=f"damaged: {note}"), opened(path):
        pass
    path.write_bytes(data[:100])
    with pytest.raises(FileError, match="cannot be read as audio: it has no samples"):
        read_all(path)


def mp3_without_info(mode: str) -> tuple[bytes, int, np.ndarray]:
    """Return an MP3 file whose first frame is audio, its number of frames, and its samples.

    The samples follow the delay of encoder and decoder.
    """
    file, audio = io.BytesIO(), noise(SAMPLES, 2) * np.linspace(0, 1, SAMPLES)[:, None] ** 4
    soundfile.write(file, audio, RATE, format="MP3", bitrate_mode=mode)
    samples, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    data = file.getvalue()
    place, sizes = 0, []
    while place < len(data):
        sizes.append(frame_bytes(data[place : place + 4], place))
        place += sizes[-1]
    return data[sizes[0] :], len(sizes) - 1, samples


def test_mp3_in_a_shard_is_read_whole() -> None:
    """The Info frame is searched in the file object that libsndfile has opened."""
    content = io.BytesIO()
    soundfile.write(content, noise(4800), 24_000, format="MP3")
    with open_sound(io.BytesIO(content.getvalue())) as sound:
        assert len(sound.file.read()) == sound.file.frames == 4800


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_mp3_that_does_not_state_its_length(tmp_path: Path, mode: str) -> None:
    data, frames, audio = mp3_without_info(mode)
    for whole in (
        data,
        b"ID3\4\0\0\0\0\x21\2" + bytes(4226) + data,
        data + b"TAG" + bytes(125),
        data + b"APETAGEX" + bytes(5000),
    ):
        path = tmp_path / "a.mp3"
        path.write_bytes(whole)
        for source in (path, Pipe(whole)):
            found, samples, notes = read_all(source)
            assert (len(found), samples, notes) == (frames * 576, frames * 576, [])
            np.testing.assert_allclose(found[1105 : 1105 + SAMPLES], audio[:, 0], atol=1e-6)
        with opened(path) as file:
            np.testing.assert_allclose(read(file, 9105, 9205).T, audio[8000:8100], atol=1e-6)
        assert describe_audio(path)["sample_count"] == frames * 576


# --- pipes without end -------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A pipe with a first part, and a part that repeats."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self.first, self.again, self.given = first, again * (1 + 65_536 // len(again)), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data, self.first = self.first[:size], self.first[size:]
        data = data or self.again[:size]
        self.given += len(data)
        return data


@pytest.mark.parametrize(
    ("first", "again", "message"),
    [
        (b"", bytes(1), "standard input cannot be read as audio: its format is not known"),
        (b"", b"some text\n", "its format is not known"),
        (wav()[:12], b"JUNK" + struct.pack("<I", 1 << 20) + bytes(1 << 20), "within 16 MiB"),
    ],
)
def test_what_is_no_audio_is_not_kept(first: bytes, again: bytes, message: str) -> None:
    pipe = Endless(first, again)
    with pytest.raises(FileError, match=message), open_audio(pipe):
        pass
    assert pipe.given <= 18 << 20


def test_chunks_before_the_samples_are_not_kept() -> None:
    """Only the bytes before the format are kept, because a decoder needs them."""
    chunk = b"JUNK" + struct.pack("<I", 1 << 20) + bytes(1 << 20)
    data = wav()
    with open_audio(io.BytesIO(data[:36] + 40 * chunk + data[36:])) as audio:
        assert sum(block.shape[1] for block in audio.blocks) == SAMPLES
