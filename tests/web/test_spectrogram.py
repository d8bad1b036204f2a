"""Levels of the page's spectrogram, in Node, against NumPy."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

RATE_HZ, COLUMNS, BANDS = 24_000, 7, 128
SCRIPT = """
const { spectrum } = await import(`file://${process.argv[1]}/modules/spectrogram.js`);
const { readFileSync } = await import("node:fs");
const bytes = readFileSync(process.argv[2]), count = bytes.length / 8;
const channel = (n) => new Float32Array(bytes.buffer, bytes.byteOffset + 4 * n * count, count);
const levels = spectrum([channel(0), channel(1)], 24000, 7);
process.stdout.write(new Uint8Array(levels.buffer));
"""


def test_levels_are_those_of_numpy(modules: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 3000 * time)
    audio = np.stack([tone, 0.01 * rng.standard_normal(len(time))]).astype(np.float32)
    audio.tofile(tmp_path / "audio.f32")
    arguments = [str(modules), str(tmp_path / "audio.f32")]
    command = ["node", "--input-type=module", "-e", SCRIPT, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = np.frombuffer(done.stdout, np.float32).reshape(COLUMNS, BANDS)

    size = 1024  # 32 ms would be 768
    window = np.hanning(size + 1)[:-1]
    centres = np.round((np.arange(COLUMNS) + 0.5) * len(time) / COLUMNS).astype(int)
    padded = np.pad(audio, ((0, 0), (size // 2, size // 2)))
    frames = np.stack([padded[:, centre : centre + size] for centre in centres])
    power = np.square(np.abs(np.fft.rfft(frames * window))).mean(axis=1)[:, :-1]
    expected = 10 * np.log10(power.reshape(COLUMNS, BANDS, -1).mean(axis=2) / window.sum() ** 2)
    assert found == pytest.approx(expected, abs=0.1)
    assert set(found.argmax(axis=1)) <= {31, 32}  # 3 kHz of 12
