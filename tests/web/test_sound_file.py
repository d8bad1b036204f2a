"""Sample rates of audio files, and WAV files, in the page's module, in Node."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPT = """
const { sampleRateOf, writeWav } = await import(`file://${process.argv[1]}/modules/sound-file.js`);
const { readFileSync, writeFileSync } = await import("node:fs");
const bytes = new Uint8Array(readFileSync(process.argv[2]));
const cuts = Array.from({ length: 200 }, (_, n) => sampleRateOf(bytes.subarray(0, n)));
const channels = [[0, 1, -1.5], [0.5, -0.25, 1e-6]].map((each) => Float32Array.from(each));
writeFileSync(process.argv[3], writeWav(channels, 44100));
console.log(JSON.stringify({ rate: sampleRateOf(bytes), cuts }));
"""


RATES_HZ = (8000, 22_050, 44_100, 48_000)
FORMS = [("WAV", "PCM_24"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)]


@pytest.mark.parametrize(
    ("form", "subtype", "rate_hz"),
    [*((*form, rate_hz) for form in FORMS for rate_hz in RATES_HZ), ("OGG", "OPUS", 8000)],
)
def test_the_sample_rate_of_a_file_is_found(
    form: str, subtype: str | None, rate_hz: int, modules: Path, tmp_path: Path
) -> None:
    path, wav = tmp_path / "sound", tmp_path / "out.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate_hz)
    soundfile.write(path, noise, rate_hz, format=form, subtype=subtype)
    command = ["node", "--input-type=module", "-e", SCRIPT, str(modules), str(path), str(wav)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert found["rate"] == (48_000 if subtype == "OPUS" else rate_hz)
    assert all(cut >= 0 for cut in found["cuts"])  # of a file that is cut off, any number

    audio, wav_hz = soundfile.read(wav, dtype="int16")
    assert wav_hz == 44_100
    assert audio.tolist() == [[0, 16_384], [32_767, -8192], [-32_768, 0]]
