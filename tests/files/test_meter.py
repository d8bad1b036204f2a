"""Notes on the level of a source."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.bitstream import Reader
from chirrup.cli import run
from chirrup.files import encode_file
from chirrup.files.bare import decode_bare, encode_bare
from chirrup.level import LevelControl
from file_samples import noise


def clipped(gain: float) -> np.ndarray:
    return np.clip(gain * noise(24_000), -1, 1)


NOTES: dict[str, tuple[np.ndarray, str]] = {
    "good": (noise(24_000), ""),
    "silence": (np.zeros((24_000, 1), np.float32), ""),
    "nothing": (np.zeros((0, 1), np.float32), ""),
    "at full scale": (noise(24_000) / np.abs(noise(24_000)).max(), ""),
    "mastered": (clipped(2.6), ""),
    "clipped": (
        clipped(8),
        r"^it has \d{3,} samples clipped at full scale: record at a lower",
    ),
    "loud": (
        8 * noise(24_000, 2),
        r"^limited \d{4,} samples to full scale: .* by 1\d\.\d dB",
    ),
    "by a little": (
        np.eye(100, 1, dtype=np.float32) * 1.001,
        r"^limited 1 sample to full scale.* by 0.1 dB",
    ),
    "one": (
        np.eye(100, 1, dtype=np.float32) * 2,
        r"^limited 1 sample to full scale.* by 6.1 dB",
    ),
    "quiet": (0.01 * noise(24_000), r"loudest sample is 4\d dB below full scale.* by \d\d dB$"),
}


@pytest.mark.parametrize("name", NOTES)
def test_notes(model_folder: Path, name: str) -> None:
    audio, words = NOTES[name]
    source = io.BytesIO()
    soundfile.write(source, audio, 24_000, format="WAV", subtype="FLOAT")
    source.seek(0)
    notes = encode_file(chirrup.load(model_folder), source, io.BytesIO()).notes
    assert len(notes) == bool(words)
    for note in notes:
        assert re.search(words, note), note


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, audio = tmp_path / "loud.wav", noise(2400)
    audio[100:103] = 1.5
    soundfile.write(source, audio, 24_000, subtype="FLOAT")
    assert run(["encode", str(source), "-q"]) == 0
    warning = capsys.readouterr().err
    assert warning.startswith(f"chirrup: warning: {source}: limited 3 samples to full scale: lower")
    assert len(warning.splitlines()) == 1


QUIET = (0.001 * noise(30_000, 2)).astype(np.float32)


@pytest.mark.parametrize("chunk", [[], ["--chunk", "60"]])
def test_encode_raises_quiet_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: list[str]
) -> None:
    """Both channels get one gain, from a file or a pipe, and there is no note on the level."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("talk.wav", QUIET * [1, 0.5], 24_000, subtype="FLOAT")
    level = LevelControl(24_000, 2)
    soundfile.write("expected.wav", level.push(QUIET.T * [[1], [0.5]]).T, 24_000, subtype="FLOAT")
    codec = chirrup.load()
    for source in ("talk.wav", "expected.wav"):
        done = encode_file(codec, source, f"{source}.chirrup", level=source == "talk.wav")
        assert done.notes == []
    assert run(["encode", "talk.wav", "line.chirrup", "--level", *chunk, "-q"]) == 0
    codes = []
    for name in ("expected.wav.chirrup", "talk.wav.chirrup", "line.chirrup"):
        chunks = Reader(io.BytesIO(Path(name).read_bytes())).chunks()
        codes.append(np.concatenate([part for _, part in chunks], axis=2))
    assert np.array_equal(codes[0], codes[1])
    assert np.array_equal(codes[0], codes[2])


def test_bare_frames_of_quiet_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("talk.wav", QUIET[:, 0], 24_000, subtype="FLOAT")
    soundfile.write("expected.wav", LevelControl(24_000).push(QUIET[:, 0]), 24_000, "FLOAT")
    notes = encode_bare(chirrup.load(), "talk.wav", "talk.bin", level=True).notes
    assert notes == []
    encode_bare(chirrup.load(), "expected.wav", "expected.bin")
    assert Path("talk.bin").read_bytes() == Path("expected.bin").read_bytes()


@pytest.mark.parametrize("bits", [None, 160])
def test_bare_frames_report_the_seconds_and_the_total(tmp_path: Path, bits: int | None) -> None:
    codec, clip, bare = chirrup.load(), tmp_path / "talk.wav", tmp_path / "talk.bin"
    soundfile.write(clip, QUIET[:, 0], 24_000, subtype="FLOAT")
    seconds, calls = len(QUIET) / 24_000, []

    def progress(done: float, total: float | None) -> None:
        calls.append((done, total))

    encode_bare(codec, clip, bare, bits=bits, progress=progress)
    assert calls[-1] == (seconds, seconds)
    calls.clear()
    decode_bare(codec, bare, tmp_path / "out.wav", bits=bits, progress=progress)
    assert calls[-1] == pytest.approx((seconds, seconds), abs=0.1)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
