"""Notes on the level of a source."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.files import encode_file
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
    "one": (
        np.eye(100, 1, dtype=np.float32) * 2,
        r"^limited 1 sample to full scale.* by 6.0 dB",
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
