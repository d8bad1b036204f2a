"""``chirrup bare``: frames of a fixed number of bits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.radio import BareDecoder, BareEncoder

TALK = Path(chirrup.__file__).parent / "clips" / "joe.flac"


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.chdir(tmp_path)
    audio = soundfile.read(TALK, dtype="float32")[0][:48_000]
    soundfile.write("clip.wav", audio, 24_000, subtype="FLOAT")
    return audio


def test_a_file_of_bare_frames_and_back(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-b", "3k", "--bits-per-frame", "64"]
    assert run(["bare", "clip.wav", "clip.bin", *options, "--text", "DL1ABC"]) == 0
    assert Path("clip.bin").stat().st_size == 8 * (101 + 3)
    assert run(["bare", "--decode", "clip.bin", "out.wav", *options, "--float"]) == 0
    assert "text: DL1ABC" in capsys.readouterr().err
    codec = chirrup.load("iris-t1")
    expected = codec.decode(codec.encode(clip, 3000))
    decoded = soundfile.read("out.wav", dtype="float32")[0]
    assert np.abs(decoded[: len(clip)] - expected).max() < 1e-4
    assert run(["bare", "clip.wav", "clip.bin", *options]) == 2  # it exists


def test_a_chirrup_file_is_no_stream_of_bare_frames(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["encode", "clip.wav", "clip.chirrup"]) == 0
    assert run(["bare", "--decode", "clip.chirrup", "out.wav"]) == 2
    assert "clip.chirrup is a .chirrup file: use chirrup decode" in capsys.readouterr().err
    assert not Path("out.wav").exists()


def test_a_frame_of_packed_bytes_is_refused() -> None:
    decoder = BareDecoder(chirrup.load("iris-t1"), 3000, 64)
    with pytest.raises(TypeError, match=r"a frame is uint8 \[64\], one element a bit; got bytes"):
        decoder.push(bytes(8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "read", "words"),
    [
        (["-b", "6k"], ["-b", "6k"], None),
        (["-b", "1500"], ["-b", "1500"], None),  # 30 bits: the last byte is filled up
        (["-b", "6k"], ["-b", "1k"], "18 marks of an end follow each other, but a sender writes 3"),
        (["-b", "6k"], ["-b", "5k"], "bits follow the end of the last over: check the bitrate"),
        (
            ["-b", "1k"],
            ["-b", "6k"],
            "it ends without an end mark: it is cut off, or check the bitrate",
        ),
    ],
)
def test_a_wrong_bitrate_is_noted(
    clip: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    made: list[str],
    read: list[str],
    words: str | None,
) -> None:
    soundfile.write("quiet.wav", clip[:14_000] / 4, 24_000)
    assert run(["bare", "quiet.wav", "quiet.bin", *made]) == 0
    capsys.readouterr()
    assert run(["bare", "--decode", "quiet.bin", "out.wav", *read, "--float"]) == 0
    shown = capsys.readouterr().err
    assert ("warning" in shown) == (words is not None)
    assert (words or "") in shown


def test_frames_that_begin_too_late_are_noted(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bare", "clip.wav", "clip.bin"]) == 0
    Path("clip.bin").write_bytes(Path("clip.bin").read_bytes()[3:])
    assert run(["bare", "--decode", "clip.bin", "out.wav"]) == 0
    assert "warning: clip.bin: 96 bits follow the end of the last over" in capsys.readouterr().err


def test_overs_that_follow_each_other_and_a_lost_frame(clip: np.ndarray) -> None:
    codec = chirrup.load("iris-t1")
    encoder = BareEncoder(codec, 1000, 22, text="DL1ABC")
    decoder = BareDecoder(codec, 1000, 22)
    overs, sounds = [], []
    for _ in range(2):
        frames = encoder.push(clip[:9600]) + encoder.flush()
        overs.append(frames)
        pieces = [decoder.push(frame) for frame in frames]
        assert decoder.ended
        sounds.append(np.concatenate(pieces))
    assert np.array_equal(*overs)  # each over begins with a flag
    assert np.array_equal(*sounds)
    assert len(decoder.push(None)) == 480
    assert len(decoder.push(encoder.push(clip[:480])[0], reliable=1)) == 480


@pytest.mark.parametrize("split", [0, 3, 40])
def test_bare_streams_go_on_from_saved_state(clip: np.ndarray, split: int) -> None:
    """The texts go on too: at no split does a text end."""
    codec = chirrup.load("iris-t1")

    def streams() -> tuple[BareEncoder, BareDecoder]:
        return BareEncoder(codec, 1000, 22, text="DL1ABC"), BareDecoder(codec, 1000, 22)

    (encoder, decoder), (encoder_2, decoder_2) = streams(), streams()
    frames = encoder.push(clip[: 480 * split + 100])
    for frame in frames:
        decoder.push(frame)
    saved, heard = (encoder.save(), decoder.save()), []
    assert len(frames) == split
    rest = encoder.push(clip[480 * split + 100 :])
    encoder_2.texts.repeat("another")
    encoder_2.push(clip[:7777])
    decoder_2.push(rest[9])
    encoder_2.restore(saved[0])
    decoder_2.restore(saved[1])
    assert np.array_equal(encoder_2.push(clip[480 * split + 100 :]), rest)
    for frame in [*rest, encoder.format.end_mark]:
        expected = decoder.push(frame)
        assert np.array_equal(decoder_2.push(frame), expected)
        assert decoder_2.texts == decoder.texts
        assert decoder_2.ended == decoder.ended
        heard += decoder.texts
    assert heard
    assert set(heard) == {"DL1ABC"}


@pytest.mark.parametrize("saved", [None, {}, {"bits": 22}])
def test_only_a_state_of_a_bare_stream_is_restored(saved: Any) -> None:
    codec = chirrup.load("iris-t1")
    encoder, decoder = BareEncoder(codec, 1000, 22), BareDecoder(codec, 1000, 22)
    others = BareEncoder(codec, 1000, 24).save(), BareDecoder(codec, 1000, 24).save()
    for stream, other, wrong in ((encoder, others[0], decoder), (decoder, others[1], encoder)):
        for state in (saved, other, wrong.save(), codec.encoder().save()):
            with pytest.raises(ValueError, match=r"not of a bare .* 22 bits: .* save\(\)"):
                stream.restore(state)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bits-per-frame", "50"], "do not fit"),
        (["--text", "A"], "no spare bits"),
        (["--bits-per-frame", "64", "--text", "A" * 256], "256 bytes"),
        (["-b", "3100"], "no bitrate of 3100"),
        (["--decode", "--text", "A"], "--text is not an option of --decode"),
        (["--float"], "--float needs --decode"),
    ],
)
def test_wrong_options_leave_no_file(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert run(["bare", "clip.wav", "out.bin", "-b", "3k", *options]) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["clip.wav"]


def test_a_folder_of_messages_and_back(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["message", "clip.wav", "out", "--max-bytes", "100", "--max-messages", "3"]) == 0
    paths = sorted(Path("out").iterdir())
    sizes = [path.stat().st_size for path in paths]
    assert [path.name for path in paths] == [f"message-00{i}.bin" for i in range(len(paths))]
    assert len(sizes) == 3
    assert max(sizes) <= 100
    assert run(["message", "--decode", "out", "all.wav", "--float"]) == 0
    codec = chirrup.load("iris-t1")
    expected = codec.decode(codec.encode(clip, 1000))
    decoded = soundfile.read("all.wav", dtype="float32")[0]
    assert np.abs(decoded[: len(clip)] - expected).max() < 1e-4
    sound = paths[1].read_bytes()
    paths[1].write_bytes(sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])
    capsys.readouterr()
    assert run(["message", "--decode", "out", "wrong.wav"]) == 0
    words = "warning: out: one or more messages are damaged: the codes do not match the checksum"
    assert words in capsys.readouterr().err
    paths[1].unlink()
    assert run(["message", "--decode", "out", "some.wav"]) == 0
    assert "lost message 1, numbered from 0: concealed" in capsys.readouterr().err
    assert len(soundfile.read("some.wav")[0]) == len(decoded)
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    assert run(["message", "--decode", "out", "rest.wav"]) == 0
    shown = capsys.readouterr().err
    assert "warning: out: message-000.bin is damaged and counts as lost: the message has" in shown
    assert "lost message 0, 1, numbered from 0: concealed" in shown
    assert len(soundfile.read("rest.wav")[0]) == len(decoded)
    paths[2].write_bytes(b"")
    assert run(["message", "--decode", "out", "none.wav"]) == 2
    assert "out: no message can be read (2 messages; the first: " in capsys.readouterr().err
    assert not Path("none.wav").exists()


def test_a_recording_that_is_cut_off_is_noted(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("cut.wav", clip, 24_000)
    Path("cut.wav").write_bytes(Path("cut.wav").read_bytes()[:30_044])
    for command in ("bare", "message"):
        assert run([command, "cut.wav", command]) == 0
        words = "warning: cut.wav: its header states 96000 bytes of samples, but it has 30000"
        assert words in capsys.readouterr().err


def test_messages_are_decoded_to_a_pipe(
    clip: np.ndarray, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["message", "clip.wav", "out", "-q"]) == 0
    assert run(["message", "--decode", "out", "out.wav"]) == 0
    capsysbinary.readouterr()
    assert run(["message", "--decode", "out", "-"]) == 0
    out, err = capsysbinary.readouterr()
    assert out == Path("out.wav").read_bytes()
    assert err == b""


def test_an_empty_recording_makes_no_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("empty.wav", np.zeros(0), 24_000)
    assert run(["bare", "empty.wav", "out.bin"]) == 2
    assert "empty.wav has no samples: give a longer recording" in capsys.readouterr().err
    assert not Path("out.bin").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clip.wav", "out", "--max-bytes", "-1"], "-1 bytes are too few for a message: use 9"),
        (["clip.wav", "out", "--max-bytes", "6"], "6 bytes are too few for a message: use 9"),
        (["clip.wav", "out", "--max-bytes", "8"], "8 bytes are too few for a message: use 9"),
        (
            ["clip.wav", "out", "--max-messages", "1"],
            "1000 bit/s (the lowest bitrate that iris-t1 was trained for), more than 1: use a "
            "shorter signal or larger messages, or give a lower bitrate",
        ),
        (
            ["clip.wav", "out", "--max-bytes", "20", "--max-messages", "2", "-b", "500"],
            "500 bit/s, more than 2: use a shorter signal or larger messages",
        ),
        (["clip.wav", "clip.wav"], "not an empty folder"),
        (["--decode", ".", "out.wav"], "has no messages"),
        (["--decode", "missing", "out.wav"], "missing does not exist"),
        (["-", "out"], "message reads no pipe: give a file"),
        (["--decode", ".", "out.wav", "-b", "1k"], "does not use --bitrate: leave it out"),
        (
            ["--decode", ".", "out.wav", "--max-bytes", "99"],
            "does not use --max-bytes: leave it out",
        ),
        (
            ["--decode", ".", "out.wav", "--max-messages", "9"],
            "does not use --max-messages: leave it out",
        ),
    ],
)
def test_wrong_messages_leave_nothing(
    clip: np.ndarray, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["message", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["clip.wav"]
