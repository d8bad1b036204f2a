"""The codecs as the modules of the page run them, in Node, against Python."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli.demo import CLIP
from chirrup.resampling import resample_blocks
from chirrup.serve import assets
from chirrup.zoo import FOLDER, models

PROGRAMS = [name for name in models() if (FOLDER / name / assets.PROGRAM).is_file()]


class Node:
    """Signals that ``coding.mjs`` encodes and decodes with one model."""

    def __init__(self, modules: Path, folder: Path, model: str) -> None:
        self.modules, self.folder, self.model = modules, folder, model
        self.signals: list[dict[str, Any]] = []

    def add(self, given: dict[str, np.ndarray], **numbers: int | None) -> None:
        number = len(self.signals)
        signal: dict[str, Any] = dict(numbers) | {"audio": str(self.folder / f"{number}.audio")}
        for name, array in given.items():
            path = self.folder / f"{number}.{name}"
            array.tofile(path)
            signal[name] = str(path)
        if "input" in given:
            signal["codes"] = str(self.folder / f"{number}.codes")
        self.signals.append(signal)

    def run(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the codes ``[codebooks, frames]`` and the audio of each signal."""
        description = assets.describe(FOLDER / self.model)
        job = {
            "model": description,
            "program": str(FOLDER / self.model / assets.PROGRAM),
            "signals": self.signals,
        }
        path = self.folder / "job.json"
        path.write_text(json.dumps(job))
        script = Path(__file__).with_name("coding.mjs")
        command = ["node", str(script), str(self.modules), str(assets.ENGINE), str(path)]
        subprocess.run(command, check=True)
        results = []
        for signal in self.signals:
            codes = np.fromfile(signal["codes" if "codes" in signal else "given"], np.int32)
            width = description["codebooks"] if "codes" in signal else signal["codebooks"]
            audio = np.fromfile(signal["audio"], np.float32)
            results.append((codes.reshape(-1, width).T, audio))
        return results


def error_db(audio: np.ndarray, expected: np.ndarray) -> float:
    """Return the power of the difference relative to the signal, in dB."""
    error = np.square(audio.astype(float) - expected).mean()
    return float(10 * np.log10(error / np.square(expected.astype(float)).mean()))


@pytest.mark.parametrize("name", PROGRAMS)
def test_codes_and_audio_are_those_of_python(name: str, modules: Path, tmp_path: Path) -> None:
    codec = chirrup.load(name)
    clip, rate_hz = soundfile.read(CLIP, dtype="float32")
    if rate_hz != codec.input_rate_hz:  # the resamplers differ; so both codecs get one signal
        blocks = resample_blocks(iter([clip[None]]), 1, rate_hz, codec.input_rate_hz)
        clip = np.concatenate([*blocks], axis=1)[0]
    clip = np.concatenate([clip[:12_345] + np.float32(0.05), 3 * clip[12_345:]])  # offset, overload
    codebooks = min(12, codec.codebooks)
    expected = codec.encode(clip, codec.bitrates_bps[-1])
    kept = expected.data[:codebooks].astype(np.int32)
    kept[:, 20:33] = kept[3:, 40:50] = -1
    lossy = np.ascontiguousarray(kept.T)
    node = Node(modules, tmp_path, name)
    rate = codec.sample_rate_hz
    node.add({"input": clip}, rate=rate, codebooks=codebooks, samples=len(clip))
    node.add({"given": lossy}, rate=rate, codebooks=codebooks, samples=None)
    (codes, audio), (_, concealed) = node.run()

    assert codes.shape == expected.data.shape
    assert (codes == expected.data).mean() >= 0.9999
    decoded = codec.decode(codes[:codebooks])[: len(clip)]
    assert audio.shape == clip.shape
    assert error_db(audio, decoded) < -60
    again = codec.decode(kept)
    assert concealed.shape == again.shape
    assert error_db(concealed, again) < -60


def test_earlier_weights_without_an_encoder_decode(modules: Path, tmp_path: Path) -> None:
    name = "iris-t2@63b797d9"
    codec = chirrup.load(name)
    assert not codec.has_encoder
    codes = np.random.default_rng(0).integers(0, codec.codebook_size, (codec.codebooks, 40))
    node = Node(modules, tmp_path, name)
    given = np.ascontiguousarray(codes.T, np.int32)
    node.add({"given": given}, rate=codec.sample_rate_hz, codebooks=codec.codebooks, samples=None)
    ((_, audio),) = node.run()
    assert error_db(audio, codec.decode(codes)) < -60


def test_a_copy_at_another_rate_has_the_length_and_place_of_the_original(
    modules: Path, tmp_path: Path
) -> None:
    """Both ways of resampling together have no delay."""
    codec = chirrup.load("tq-small")
    time = np.arange(3 * 8000) / 48_000
    sweep = (0.3 * np.sin(2 * np.pi * (200 + 1500 * time) * time)).astype(np.float32)
    node = Node(modules, tmp_path, "tq-small")
    numbers = {"rate": 48_000, "codebooks": codec.codebooks, "samples": len(sweep)}
    node.add({"input": sweep}, **numbers)
    ((_, audio),) = node.run()
    assert audio.shape == sweep.shape
    inner = slice(500, -500)
    assert error_db(audio[inner], sweep[inner]) < -20
    lags = range(-3, 4)
    errors = [error_db(np.roll(audio, lag)[inner], sweep[inner]) for lag in lags]
    assert lags[int(np.argmin(errors))] == 0
