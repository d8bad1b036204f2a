"""Measure the errors of the estimates of `chirrup data`.

Clean speech gets a known amount of noise, reverberation or band limiting, which is then estimated.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
from rich.table import Table

from chirrup.data import quality
from chirrup.data.manifest import Entry, find_manifest, read_manifest
from chirrup.data.reverberation import reverberation_time_s
from chirrup.data.spectra import spectrum
from chirrup.evaluate.clips import read_clip
from shared import console, machine, table

SNRS_DB = (0, 5, 10, 20, 30, 40, 50, 60)
TIMES_S = (0.3, 0.5, 0.8, 1.2)
RATIOS_DB = (6, 0, -6)
LIMITS_HZ = (3400, 8000, 11025, 16000)


def clean(corpus: Path, count: int, least_db: float) -> list[tuple[np.ndarray, int]]:
    """Return up to ``count`` clips ``[samples]`` with their rates, one a speaker.

    Args:
        least_db: lowest SNR of the clips themselves, which must be far above the SNR under test.
    """
    speakers: dict[str, Entry] = {}
    for entry in read_manifest(find_manifest(corpus)):
        snr_db = entry.facts.get("snr_db") or entry.facts.get("snr_est_db_or_side_mid") or "0"
        speaker = entry.facts.get("group") or entry.facts.get("speaker_or_track", "")
        if entry.path.startswith("speech") and float(snr_db) >= least_db and not entry.shard:
            speakers.setdefault(speaker, entry)
    chosen = sorted(speakers.values())
    chosen = chosen[:: max(1, len(chosen) // count)][:count]
    clips = [read_clip(Path(str(entry)), mono=True) for entry in chosen]
    return [(audio[0], rate_hz) for audio, rate_hz in clips]


def levels(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    blocks, hz = spectrum(audio.astype(np.float32), rate_hz)
    return np.concatenate([quality.speech_levels(power, hz) for power in blocks])


def noisy(
    audio: np.ndarray, rate_hz: int, snr_db: float, random: np.random.Generator
) -> np.ndarray:
    """Add pink noise, ``snr_db`` below the active frames."""
    spectrum = np.fft.rfft(random.standard_normal(len(audio)))
    added = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), len(audio))
    frames = levels(audio, rate_hz)
    active = frames[frames > np.quantile(frames, 0.95) * 10**-2.5].mean()
    return audio + added * np.sqrt(active / levels(added, rate_hz).mean() * 10 ** (-snr_db / 10))


def reverberant(
    audio: np.ndarray, rate_hz: int, rt60_s: float, ratio_db: float, random: np.random.Generator
) -> np.ndarray:
    """Add a diffuse room, with ``ratio_db`` more direct than reverberant energy."""
    time_s = np.arange(round(1.5 * rt60_s * rate_hz)) / rate_hz
    room = random.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    room[: round(0.003 * rate_hz)] = 0
    room *= 10 ** (-ratio_db / 20) / np.sqrt(np.square(room).sum())
    room[0] = 1
    size = len(audio) + len(room)
    wet = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(room, size), size)
    return wet[: len(audio)].astype(np.float32)


def add(result: Table, truth: str, values: Sequence[float | None], off: float, digits: int) -> None:
    known = np.array([value for value in values if value is not None])
    low, middle, high = np.quantile(known, (0.1, 0.5, 0.9)) if len(known) else (np.nan,) * 3
    cells = [f"{value:.{digits}f}" for value in (low, middle, high, known.mean() - off)]
    result.add_row(truth, *cells, f"{len(known)} of {len(values)}")


def estimates(title: str) -> Table:
    return table(title, "truth", "10 %", "median", "90 %", "mean error", "answers")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare estimates with known values.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clips", type=int, default=30)
    options = parser.parse_args()
    console.print(machine())
    random = np.random.default_rng(0)

    clips = clean(options.corpus, options.clips, 60)
    result = estimates(f"snr_db, pink noise, {len(clips)} speakers")
    for snr_db in SNRS_DB:
        found = [quality.snr_db(levels(noisy(*clip, snr_db, random), clip[1])) for clip in clips]
        add(result, f"{snr_db}", found, snr_db, 1)
    console.print(result)

    clips = clean(options.corpus, options.clips, 40)
    result = estimates(f"rt60_s, diffuse rooms, {len(clips)} speakers; D/R is direct over the rest")
    add(result, "dry", [reverberation_time_s(*clip) for clip in clips], 0, 2)
    for ratio_db in RATIOS_DB:
        for rt60_s in TIMES_S:
            wet = [(reverberant(*clip, rt60_s, ratio_db, random), clip[1]) for clip in clips]
            found = [reverberation_time_s(*clip) for clip in wet]
            add(result, f"{rt60_s}, D/R {ratio_db} dB", found, rt60_s, 2)
    console.print(result)

    result = estimates(f"bandwidth_hz, stored at a lower rate before, {len(clips)} speakers")
    for limit_hz in LIMITS_HZ:
        found = []
        for audio, rate_hz in clips:
            low = soxr.resample(soxr.resample(audio, rate_hz, 2 * limit_hz), 2 * limit_hz, 48_000)
            if 2 * limit_hz < rate_hz:
                figures = quality.figures(low[None].astype("f4"), 48_000, speech=False)
                found.append(figures["bandwidth_hz"])
        if found:
            add(result, f"{limit_hz}", found, limit_hz, 0)
    console.print(result)


if __name__ == "__main__":
    main()
