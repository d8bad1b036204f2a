"""Loudness by ITU-R BS.1770-4 in the page's module, in Node."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import soundfile

from chirrup.cli.demo import CLIP

SCRIPT = """
const { equalGains, loudness } = await import(`file://${process.argv[1]}/modules/loudness.js`);
const sound = ({ channels, rate, parts, hz }) => Array.from({ length: channels }, () =>
  Float32Array.from(parts.flatMap(([decibels, seconds]) =>
    Array.from({ length: seconds * rate }, (_, n) =>
      10 ** (decibels / 20) * Math.sin((2 * Math.PI * hz * n) / rate)))));
const values = JSON.parse(process.argv[2]).map((each) => loudness(sound(each), each.rate));
const finite = values.map((value) => (Number.isFinite(value) ? value : null));
console.log(JSON.stringify({ values: finite, gains: equalGains(values) }));
"""
CLIP_SCRIPT = """
const { loudness } = await import(`file://${process.argv[1]}/modules/loudness.js`);
const { readFileSync } = await import("node:fs");
const bytes = readFileSync(process.argv[2]);
console.log(loudness([new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)], 24000));
"""


def answer(script: str, *arguments: str) -> Any:
    command = ["node", "--input-type=module", "-e", script, *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def tone(
    rate_hz: int, channels: int, *parts: tuple[float, float], hz: int = 1000
) -> dict[str, Any]:
    """Describe a tone with parts of a peak in dB and a duration in seconds."""
    return {"rate": rate_hz, "channels": channels, "parts": parts, "hz": hz}


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 44_100, 48_000])
def test_tones_have_the_loudness_of_the_standard_and_of_ebu_tech_3341(
    rate_hz: int, modules: Path
) -> None:
    around = [
        (-36, 2),
        (-23, 12),
        (-36, 2),
    ]  # case 3 of EBU Tech 3341, shortened: the relative gate
    sounds = [
        tone(rate_hz, 1, (0, 2), hz=997),
        tone(rate_hz, 2, (-23, 4)),
        tone(rate_hz, 2, *around),
        tone(rate_hz, 2, (-72, 2), *around, (-72, 2)),  # case 4: both gates
    ]
    values = answer(SCRIPT, str(modules), json.dumps(sounds))["values"]
    assert values == pytest.approx([-3.01, -23.0, -23.0, -23.0], abs=0.1)


def test_speech_has_the_loudness_of_pyloudnorm(modules: Path, tmp_path: Path) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    clip, rate_hz = soundfile.read(CLIP, dtype="float32")
    clip.tofile(tmp_path / "clip.f32")
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(clip)
    value = answer(CLIP_SCRIPT, str(modules), str(tmp_path / "clip.f32"))
    assert value == pytest.approx(expected, abs=0.1)


def test_gains_lower_all_sounds_to_the_quietest_and_leave_silence(modules: Path) -> None:
    parts = [(-10, 1), (-16, 1), (-999, 1), (-13, 0.1)]  # the last is shorter than a block
    sounds = [tone(24_000, 1, part) for part in parts]
    found = answer(SCRIPT, str(modules), json.dumps(sounds))
    assert found["values"][2] is None
    assert found["gains"] == pytest.approx([0.501, 1, 1, 0.708], abs=0.01)
