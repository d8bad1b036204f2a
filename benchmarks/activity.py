"""Errors of the voice activity detector, in silence and in noise, as two tables.

python benchmarks/activity.py CORPUS [--pause 2] [--draws 5] [--seed 0]

Each clip of CORPUS/speech_test stands between two pauses. Noise of CORPUS/noise_test is added. The
second pause is counted. The onset of a clip is cut by the time from its first block of speech to
the first block that the detector finds.

A block of 10 ms counts as speech if its level in the clean clip is at most 15.9 dB below that of
the active speech, the margin of ITU-T P.56. The active speech is the blocks within 20 dB of the
loudest one. Weaker blocks of a clip count neither as speech nor as pause.
"""

import argparse
from pathlib import Path

import numpy as np

from chirrup.evaluate.clips import audio_files, read_clip
from chirrup.live.activity import BLOCK_S, VoiceActivity

RATE_HZ = 24_000
BLOCK = round(BLOCK_S * RATE_HZ)
RATIOS_DB = (20, 10)
SILENCE_DB = -75.0
"""Level of white noise in the condition without noise, as of a quiet microphone."""
MARGIN_DB, ACTIVE_DB = 15.9, 20.0


def read(path: Path) -> np.ndarray:
    """Return a file as ``float64 [samples]``, in whole blocks."""
    audio = read_clip(path, RATE_HZ, mono=True)[0].reshape(-1).astype(np.float64)
    return audio[: len(audio) // BLOCK * BLOCK]


def level_of(power: np.ndarray) -> float:
    return float(np.sqrt(power.mean()))


def speech_blocks(clip: np.ndarray) -> tuple[np.ndarray, float]:
    """Return which blocks are speech, and the RMS of the active speech."""
    power = np.square(clip.reshape(-1, BLOCK)).mean(axis=1)
    level = level_of(power[power > power.max() * 10 ** (-ACTIVE_DB / 10)])
    return power > level**2 * 10 ** (-MARGIN_DB / 10), level


def decisions(signal: np.ndarray) -> np.ndarray:
    activity = VoiceActivity(RATE_HZ)
    return np.array([activity.push(block) for block in signal.reshape(-1, BLOCK)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--pause", type=float, default=2.0, help="Duration of a pause in seconds.")
    parser.add_argument("--draws", type=int, default=5, help="Draws of the noise for a clip.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    clips = [read(path) for path in audio_files(given.corpus / "speech_test")]
    paths = audio_files(given.corpus / "noise_test")
    noises = [read(path) for path in paths]
    pause = np.zeros(round(given.pause / BLOCK_S) * BLOCK)
    print("| noise | speech missed, % | onset cut, ms | pauses sent, % |\n|---|---|---|---|")
    for ratio_db in (None, *RATIOS_DB):
        missed, cut_ms, sent = [], [], []
        for clip in clips * given.draws:
            speech, level = speech_blocks(clip)
            signal = np.concatenate([pause, clip, pause])
            if ratio_db is None:
                signal += random.normal(0, 10 ** (SILENCE_DB / 20), len(signal))
            else:
                noise = noises[random.integers(len(noises))]
                noise = np.resize(np.roll(noise, -random.integers(len(noise))), len(signal))
                signal += noise * (level * 10 ** (-ratio_db / 20) / level_of(noise**2))
            found = decisions(signal)[len(pause) // BLOCK :]
            onset = int(np.argmax(speech))
            missed.append(~found[: len(speech)][speech])
            cut_ms.append(1000 * BLOCK_S * int(np.argmax(found[onset:])))
            sent.append(found[len(speech) :])
        name = "none" if ratio_db is None else f"{ratio_db} dB below the speech"
        shares = [100 * np.concatenate(column).mean() for column in (missed, sent)]
        print(f"| {name} | {shares[0]:.2f} | {np.mean(cut_ms):.1f} | {shares[1]:.1f} |", flush=True)
    print("\n| noise without speech | sent, % |\n|---|---|")
    for path, noise in zip(paths, noises, strict=True):
        settled = decisions(noise)[round(2 / BLOCK_S) :]
        print(f"| {path.stem} | {100 * settled.mean():.0f} |")


if __name__ == "__main__":
    main()
