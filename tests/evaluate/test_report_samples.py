"""Synthetic results for the tests of the report: odd names, blanks, tones as audio."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from chirrup.evaluate.metrics import Metric
from chirrup.evaluate.results import Results, Row, audio_path

RATE_HZ = 16_000
CLIP_S = 1.5
ODD = """<script>alert("1")</script> & 'quotes' Zürich 声"""
"""An odd name. Names of files have no slash."""


metric = partial(
    Metric, rate_hz=None, needs_reference=True, lowest=0, score=lambda *signals: math.nan
)
METRICS = {
    "pesq_wb": metric("pesq_wb", "PESQ-wb", "", "higher", 2, lowest=1, highest=4.64),
    "estoi": metric("estoi", "ESTOI <i>", "", "higher", 3, highest=1),
    "lsd": metric("lsd", "LSD", "dB", "lower", 1, highest=None),
    "unused": metric("unused", "never scored", "", "higher", 1, lowest=None, highest=None),
}
CODECS = (("iris-t1", "iris-t1", True), ("opus", ODD, False), ("codec2", "Codec2", False))


def made_up(
    codecs: Sequence[tuple[str, str, bool]] = CODECS,
    bitrates_bps: Sequence[int] = (1000, 6000),
    conditions: Sequence[str] = ("clean", "noise-15"),
    clips: int = 4,
) -> Results:
    """Return results with random scores.

    PESQ of the last codec is blank for all clips at its lowest bitrate, and for one at its highest.
    """
    random = np.random.default_rng(0)
    rows = []
    for condition in conditions:
        for codec, label, ours in codecs:
            for bitrate_bps in bitrates_bps:
                for clip in range(clips):
                    scores: dict[str, float | None] = {
                        "pesq_wb": float(random.uniform(1, 4)),
                        "estoi": float(random.uniform(0, 1)),
                        "lsd": float(random.uniform(-1, 9)),
                    }
                    blank = {}
                    if codec == "codec2" and (bitrate_bps == min(bitrates_bps) or clip == 1):
                        scores["pesq_wb"], blank["pesq_wb"] = None, 'no utterance <"&">'
                    rows.append(
                        Row(
                            codec=codec,
                            label=label,
                            ours=ours,
                            version="0123456789ab" if ours else "",
                            bitrate_bps=bitrate_bps,
                            condition=condition,
                            clip=f"<b>&\"'{clip}",
                            speaker=f"声 <{clip // 2}>",
                            seconds=CLIP_S,
                            bits=round(CLIP_S * bitrate_bps * random.uniform(0.9, 1.1)),
                            encode_seconds=0.01,
                            decode_seconds=0.0,
                            delay_ms=6.5,
                            scores=scores,
                            blank=blank,
                        )
                    )
    run = {
        "created": "2026-11-21T15:00:00+00:00",
        "machine": "x86_64, Linux",
        "versions": {"chirrup": "0.1.0", ODD: "<1>"},
        "rate_hz": None,
        "mono": True,
        "left_out": [f"{ODD}: why not"],
    }
    return Results(run, rows)


def write_audio(results: Results, folder: Path) -> dict[Path, np.ndarray]:
    """Write a tone of another pitch for each reference and row; return the tones by path."""
    written: dict[Path, np.ndarray] = {}
    for row in results.rows:
        for name in ("reference", row.system):
            path = audio_path(folder, row.condition, row.clip, name)
            if path not in written:
                pitch_hz = 200 + 37 * len(written)
                time_s = np.arange(round(CLIP_S * RATE_HZ)) / RATE_HZ
                tone = np.round(8000 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.int16)
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone, RATE_HZ)
                written[path] = tone
    return written
