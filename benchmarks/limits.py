"""Find the limits of a model's quality: autoencoder, quantizer, bands, kinds of frames, data.

    python benchmarks/limits.py RUN_OR_CHECKPOINT --corpus FOLDER [--clips 20] [--out FOLDER]

The script prints four tables and draws `limits.png` into the folder `--out` (runs/limits):

1. Ceiling: scores without the quantizer, and with all, half and a sixth of the codebooks. The clips
   are from the test set and the training set, one a speaker.
2. Bands: signal-to-noise ratio and log-spectral distance of the test clips, by frequency.
3. Instants: the same figures by kind of frame: onset, loud, soft, pause.
4. Codebooks: entropy of the entries, alone and given the entry of the last frame.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from chirrup.data.manifest import Entry
from chirrup.evaluate.clips import speaker
from chirrup.evaluate.metrics import score
from chirrup.evaluate.usage import entropy_bits
from chirrup.lab.models import Model
from chirrup.lab.training.batches.audio_files import list_recordings, read_mono
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.data_config import DataConfig
from shared import console, table

BAND_EDGES_HZ = (0, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000, 24_000)
INSTANTS = ("onset", "loud", "soft", "pause")
WINDOW_MS, HOP_MS = 40, 10
FLOOR_DB = -80.0
"""Floor of the levels, relative to the loudest bin of a clip."""


@dataclass
class Tally:
    """Sums over the time-frequency bins of all clips, for one setting."""

    signal: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    error: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    squares: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    level: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    bins: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, where: str, clean: np.ndarray, coded: np.ndarray, floor: float) -> None:
        """Add complex bins of the original and of the decoded signal."""
        if clean.size == 0:
            return
        difference_db = 20 * np.log10(
            np.maximum(np.abs(coded), floor) / np.maximum(np.abs(clean), floor)
        )
        self.signal[where] += float(np.sum(np.abs(clean) ** 2))
        self.error[where] += float(np.sum(np.abs(clean - coded) ** 2))
        self.squares[where] += float(np.sum(difference_db**2))
        self.level[where] += float(np.sum(difference_db))
        self.bins[where] += clean.size

    def snr_db(self, where: str) -> float:
        return 10 * np.log10(self.signal[where] / self.error[where])

    def lsd_db(self, where: str) -> float:
        return float(np.sqrt(self.squares[where] / self.bins[where]))

    def level_db(self, where: str) -> float:
        """Return the level of the decoded signal above the original, mean over bins."""
        return self.level[where] / self.bins[where]


@torch.no_grad()
def outputs(model: Model, audio: np.ndarray, settings: Mapping[str, int | None]) -> dict:
    """Return the decoded audio of each setting, aligned, and the codes ``[codebooks, frames]``."""
    delay, frame = model.delay_samples, model.frame_samples
    padded = np.pad(audio, (0, delay + -(len(audio) + delay) % frame))
    latent = model.encoder.offline(torch.from_numpy(padded)[None, None])
    quantizer = model.quantizer
    codes = quantizer.encode(latent)
    decoded = {}
    for name, books in settings.items():
        coded = quantizer.bypassed(latent) if books is None else quantizer.decode(codes[:, :books])
        decoded[name] = model.decoder.offline(coded)[0, 0, delay : delay + len(audio)].numpy()
    return decoded | {"codes": codes[0].numpy()}


def spectra(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return ``complex [frames, bins]``."""
    window, hop = rate_hz * WINDOW_MS // 1000, rate_hz * HOP_MS // 1000
    return np.fft.rfft(sliding_window_view(audio, window)[::hop] * np.hanning(window))


def instants(clean: np.ndarray) -> np.ndarray:
    """Classify each frame by the level of the original, as an index of `INSTANTS`.

    An onset rises by 6 dB within 30 ms. A soft frame is 15 to 40 dB below the loud ones, and a
    pause is further below.
    """
    level_db = 10 * np.log10(np.sum(np.abs(clean) ** 2, axis=1) + 1e-12)
    level_db -= np.percentile(level_db, 95)
    earlier = np.concatenate([level_db[:1].repeat(3), level_db[:-3]])
    kind = np.select([level_db < -40, level_db < -15], [3, 2], 1)
    return np.where((level_db - earlier > 6) & (level_db > -25), 0, kind)


def one_a_speaker(folder: str, data: DataConfig, clips: int) -> list[Entry]:
    every = sorted(list_recordings(data.manifest, folder), reverse=True)
    first = sorted({speaker(Path(entry.path)): entry for entry in every}.values())
    return first[:: max(1, len(first) // clips)][:clips]


def main() -> None:
    parser = argparse.ArgumentParser(description="What limits the quality of a model.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/limits"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = trained_model(load_checkpoint(arguments.run)).eval()
    rate_hz, books = model.sample_rate_hz, model.codebooks
    settings = {"no quantizer": None} | {
        f"{count} of {books}": count
        for count in dict.fromkeys((books, -(-books // 2), -(-books // 6)))
    }
    data = DataConfig(manifest=arguments.corpus / "MANIFEST.csv")

    tallies = {name: Tally() for name in settings}
    scores: dict[tuple[str, str], list[dict]] = defaultdict(list)
    codes = []
    for folder in ("speech_test", "speech_train"):
        for entry in one_a_speaker(folder, data, arguments.clips):
            audio = read_mono(entry, rate_hz).astype(np.float32)
            decoded = outputs(model, audio, settings)
            code = decoded.pop("codes")
            clean = spectra(audio, rate_hz)
            for name, result in decoded.items():
                metrics = ("pesq_wb", "estoi", "snr", "lsd")
                scores[folder, name].append({m: score(m, audio, result, rate_hz) for m in metrics})
                if folder == "speech_test":
                    tally(tallies[name], clean, spectra(result, rate_hz), rate_hz)
            if folder == "speech_test":
                codes.append(code)
            console.print(f"{entry.path}", style="dim")

    report(scores, tallies, codes, model)
    draw(tallies, codes, model, arguments.out)


def tally(into: Tally, clean: np.ndarray, coded: np.ndarray, rate_hz: int) -> None:
    floor = float(np.abs(clean).max() * 10 ** (FLOOR_DB / 20))
    hz = np.linspace(0, rate_hz / 2, clean.shape[1])
    for low, high in bands(rate_hz):
        inside = (hz >= low) & (hz < high)
        into.add(f"{low}", clean[:, inside], coded[:, inside], floor)
    kinds = instants(clean)
    for index, kind in enumerate(INSTANTS):
        into.add(kind, clean[kinds == index], coded[kinds == index], floor)


def bands(rate_hz: int) -> list[tuple[int, int]]:
    edges = [edge for edge in BAND_EDGES_HZ if edge <= rate_hz / 2]
    return list(itertools.pairwise(edges))


def report(scores: dict, tallies: dict[str, Tally], codes: list[np.ndarray], model: Model) -> None:
    ceiling = table("Ceiling", "", "clips", "PESQ-wb", "ESTOI", "SNR, dB", "LSD, dB")
    for (folder, name), rows in scores.items():
        means = [np.mean([row[m] for row in rows if row[m] is not None]) for m in rows[0]]
        ceiling.add_row(f"{folder}, {name}", str(len(rows)), *(f"{mean:.2f}" for mean in means))
    console.print(ceiling)

    def by(title: str, places: dict[str, str]) -> None:
        total = sum(tallies["no quantizer"].signal[where] for where in places.values())
        result = table(f"{title}: SNR / LSD / louder by, dB", "", "energy", *tallies)
        for label, where in places.items():
            energy = tallies["no quantizer"].signal[where] / total
            cells = (
                f"{t.snr_db(where):.1f} / {t.lsd_db(where):.1f} / {t.level_db(where):+.1f}"
                for t in tallies.values()
            )
            result.add_row(label, f"{energy:.2%}", *cells)
        console.print(result)

    by("Bands", {f"{low} to {high} Hz": f"{low}" for low, high in bands(model.sample_rate_hz)})
    by("Instants", {kind: kind for kind in INSTANTS})

    size = model.codebook_size
    entropies = table("Codebooks", "", "used", "entropy, bits", "after the last frame's, bits")
    for index in range(model.codebooks):
        used, alone, conditional = information(codes, index, size)
        entropies.add_row(str(index + 1), f"{used:.1%}", f"{alone:.2f}", f"{conditional:.2f}")
    console.print(entropies)


def information(codes: list[np.ndarray], book: int, size: int) -> tuple[float, float, float]:
    """Return the share of used entries, the entropy, and the entropy given the last frame's entry.

    The conditional entropy uses 32 clusters of entries of similar frequency, because the pairs of
    all entries are too many to count.
    """
    counts = np.bincount(np.concatenate([code[book] for code in codes]), minlength=size)
    share = np.cumsum(counts[np.argsort(-counts)]) / counts.sum()
    cluster = np.empty(size, int)
    cluster[np.argsort(-counts)] = np.minimum((share * 32).astype(int), 31)
    joint = np.zeros((32, 32))
    for code in codes:
        np.add.at(joint, (cluster[code[book][:-1]], cluster[code[book][1:]]), 1)
    shared = entropy_bits(joint.sum(0)) + entropy_bits(joint.sum(1)) - entropy_bits(joint.ravel())
    alone = entropy_bits(counts)
    return float((counts > 0).mean()), alone, alone - shared


def draw(tallies: dict[str, Tally], codes: list[np.ndarray], model: Model, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(16, 4.5))
    edges = bands(model.sample_rate_hz)
    labels = [f"{low / 1000:g}" for low, _ in edges]
    for name, found in tallies.items():
        axes[0].plot(labels, [found.snr_db(f"{low}") for low, _ in edges], "o-", label=name)
        axes[1].plot(labels, [found.lsd_db(f"{low}") for low, _ in edges], "o-", label=name)
    axes[0].set(title="SNR by band, dB", xlabel="from, kHz")
    axes[1].set(title="log-spectral distance by band, dB", xlabel="from, kHz")
    axes[0].axhline(0, color="grey", linewidth=0.5)
    axes[0].legend()
    entropies = [information(codes, i, model.codebook_size)[1] for i in range(model.codebooks)]
    axes[2].bar(range(1, model.codebooks + 1), entropies)
    axes[2].set(title="entropy of each codebook, bits", xlabel="codebook")
    out.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(out / "limits.png", dpi=80)
    console.print(f"plots: {out / 'limits.png'}")


if __name__ == "__main__":
    main()
