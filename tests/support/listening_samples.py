"""Folders that ``chirrup evaluate`` could have written, and ratings, for listening tests."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from chirrup.evaluate.listening_tests.ratings import Key
from chirrup.evaluate.results import RESULTS, Results, Row, audio_path

SYSTEMS = {"good": 6000, "bad": 1000}


def evaluated(
    folder: Path, clips: list[str], *, rate_hz: int = 24_000, seconds: float = 0.2
) -> Path:
    """Make results of two systems. ``bad`` is at half the level of ``good``, and noisy."""
    rows = []
    for index, clip in enumerate(clips):
        random = np.random.default_rng(index)
        audio = 0.1 * random.standard_normal(round(seconds * rate_hz))
        noise = 0.02 * random.standard_normal(len(audio))
        made = {"reference": audio, "good-6000": audio + noise / 10, "bad-1000": audio / 2 + noise}
        for name, samples in made.items():
            path = audio_path(folder, "clean", clip, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, rate_hz)
        speaker = clip.rpartition("__")[0] or clip
        for name, bitrate in SYSTEMS.items():
            rows.append(
                Row(
                    codec=name,
                    label=name.title(),
                    ours=False,
                    version="",
                    bitrate_bps=bitrate,
                    condition="clean",
                    clip=clip,
                    speaker=speaker,
                    seconds=seconds,
                    bits=round(bitrate * seconds),
                    encode_seconds=0.1,
                    decode_seconds=0.1,
                    delay_ms=0.0,
                )
            )
    Results({"conditions": ["clean"]}, rows).write(folder / RESULTS)
    return folder


def submission(
    key: Key, listener: str, rate: Callable[[Mapping[str, Any]], Any], field: str
) -> dict[str, Any]:
    """Return the ratings of a listener: ``rate`` of each trial, in the field scores or choice."""
    return {
        "format": "chirrup ratings 1",
        "test": key.test,
        "listener": listener,
        "started": "2026-11-29T14:00:00Z",
        "finished": "2026-11-29T14:20:00Z",
        "ratings": [
            {"trial": name, field: rate(trial), "seconds": 1.5}
            for name, trial in key.trials.items()
        ],
    }
