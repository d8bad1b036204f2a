"""Find the errors of a model that cost most: its scores if a part of the errors is removed.

    python benchmarks/oracle.py RUN_OR_CHECKPOINT --corpus FOLDER [--clips 8] [--seconds 6]

The script replaces a band of the decoded spectrum (windows of 40 ms, 10 ms apart), or its
magnitudes or phases, with the original's, and scores the resulting audio.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chirrup.evaluate.metrics import METRICS, score
from chirrup.lab.training.batches.audio_files import read_mono
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.data_config import DataConfig
from limits import HOP_MS, WINDOW_MS, one_a_speaker, outputs
from shared import console, table

SCORES = ("pesq_wb", "visqol_speech", "dnsmos", "distillmos")
BANDS_HZ = ((0, 1200), (1200, 4000), (4000, 24_000))


class Spectrum:
    """A short-time Fourier transform, ``complex [bins, frames]``, with its inverse."""

    def __init__(self, rate_hz: int) -> None:
        self.n_fft, self.hop = (rate_hz * ms // 1000 for ms in (WINDOW_MS, HOP_MS))
        self.window = torch.hann_window(self.n_fft).sqrt()
        self.hz = torch.linspace(0, rate_hz / 2, self.n_fft // 2 + 1)[:, None]

    def of(self, audio: np.ndarray) -> Tensor:
        given = torch.from_numpy(audio)
        return torch.stft(given, self.n_fft, self.hop, window=self.window, return_complex=True)

    def audio(self, spectrum: Tensor, samples: int) -> np.ndarray:
        options = {"window": self.window, "length": samples}
        return torch.istft(spectrum, self.n_fft, self.hop, **options).numpy()


def repaired(clean: np.ndarray, coded: np.ndarray, spectrum: Spectrum) -> dict[str, np.ndarray]:
    """Return the decoded audio, unchanged and with each part of the original."""
    x, y = spectrum.of(clean), spectrum.of(coded)

    def put(inside: Tensor, part: Tensor) -> np.ndarray:
        return spectrum.audio(torch.where(inside, part, y), len(clean))

    everywhere = spectrum.hz >= 0
    magnitudes, phases = torch.polar(x.abs(), y.angle()), torch.polar(y.abs(), x.angle())
    result = {
        "nothing": coded,
        "all phases": put(everywhere, phases),
        "all magnitudes": put(everywhere, magnitudes),
    }
    for low, high in BANDS_HZ:
        inside = (spectrum.hz >= low) & (spectrum.hz < high)
        name = f"{low} to {high} Hz" if high < spectrum.hz[-1] else f"from {low} Hz"
        result |= {f"{name}, magnitudes": put(inside, magnitudes), name: put(inside, x)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the errors of a model that cost most.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    model = trained_model(load_checkpoint(arguments.run)).eval()
    rate_hz, spectrum = model.sample_rate_hz, Spectrum(model.sample_rate_hz)
    data = DataConfig(manifest=arguments.corpus / "MANIFEST.csv")
    settings = {f"{books} of {model.codebooks}": books for books in (2, model.codebooks)}
    rows: dict[tuple[str, str], list[list[float | None]]] = defaultdict(list)
    for entry in one_a_speaker("speech_test", data, arguments.clips):
        audio = read_mono(entry, rate_hz).astype(np.float32)
        clean = audio[: int(arguments.seconds * rate_hz)]
        rows["", "everything"].append([score(m, clean, clean, rate_hz) for m in SCORES])
        decoded = outputs(model, clean, settings)
        for setting in settings:
            for part, result in repaired(clean, decoded[setting], spectrum).items():
                rows[setting, part].append([score(m, clean, result, rate_hz) for m in SCORES])
        console.print(f"{entry.path}", style="dim")
    shown = table(
        f"{arguments.clips} clips with parts of the original",
        "codebooks",
        "of the original",
        *(METRICS[name].label for name in SCORES),
    )
    for (setting, part), found in rows.items():
        columns = zip(*found, strict=True)
        means = (np.mean([value for value in column if value is not None]) for column in columns)
        shown.add_row(setting, part, *(f"{mean:.2f}" for mean in means))
    console.print(shown)


if __name__ == "__main__":
    main()
