"""Compare the cost and the latency of an exported model with the figures of its paper.

This module imports no torch, because `chirrup audit` runs without it.
"""

from typing import Any

import numpy as np

from chirrup.codec import Codec
from chirrup.lab.papers import PAPERS

PARTS = ("encoder", "quantizer", "decoder")
SOURCES = ("ours", "paper")

CLICKS = (1.0, -10.0, 100.0, -1000.0)
"""Amplitudes. Some exceed full scale: a small weight must show through the quantizer."""


def compare_with_paper(codec: Codec) -> dict[str, Any]:
    """Return `compare_description` of an exported model, whose latency is measured here."""
    return compare_description(codec.description, measured_latency_samples(codec))


def compare_description(about: dict[str, Any], latency_samples: int) -> dict[str, Any]:
    """Compare the description of a model with its paper.

    MFLOPS follow the LRAC challenge (`chirrup.lab.audit.complexity`). They and the parameters were
    counted when the model was exported.

    Args:
        about: the contents of ``model.json``, or `chirrup.lab.audit.configuration.audit_config`.
        latency_samples: latency as measured, in samples of the output.

    Returns:
        Plain values, as ``chirrup audit --json`` prints them. A figure that is not known is None.
    """
    paper = PAPERS.get(about["name"])
    counted: dict[str, Any] = about.get("audit", {})
    parts: dict[str, dict[str, dict[str, float | None]]] = {}
    for part in PARTS:
        ours = counted.get("parts", {}).get(part, {})
        size_m = paper and paper.parameters_m.get(part)
        parts[part] = {
            "mflops": _compared(ours.get("mflops"), paper and paper.mflops.get(part)),
            "parameters": _compared(
                ours.get("parameters"), None if size_m is None else round(1e6 * size_m)
            ),
        }
    parts["total"] = {
        figure: _compared(
            *(_sum([parts[part][figure][source] for part in PARTS]) for source in SOURCES)
        )
        for figure in ("mflops", "parameters")
    }
    rate_hz, frame = about["sample_rate_hz"], about["frame_samples"]
    input_rate_hz = about.get("input_rate_hz", rate_hz)
    bits = (about["codebook_size"] - 1).bit_length()
    every = {
        round(bits * rate_hz / frame * count): bits * count
        for count in range(1, about["codebooks"] + 1)
    }
    field = counted.get("receptive_field_samples")
    return {
        "model": about["name"],
        "paper": paper.source if paper else None,
        "note": paper and paper.note,
        "parts": parts,
        "bits_per_frame": {
            str(bitrate): every[bitrate]
            for bitrate in (paper.bitrates_bps if paper else every)
            if bitrate in every
        },
        "frame_ms": 1000 * frame / rate_hz,
        "latency_ms": {
            "nominal": 1000 * about["latency_samples"] / rate_hz,
            "measured": 1000 * latency_samples / rate_hz,
            "measured_samples": latency_samples,
            "paper": paper.latency_ms if paper else None,
        },
        "encoder_receptive_field_ms": None if field is None else 1000 * field / input_rate_hz,
        "encoder_receptive_field_samples": field,
    }


def _compared(ours: float | None, paper: float | None) -> dict[str, float | None]:
    deviation = None if ours is None or not paper else 100 * (ours / paper - 1)
    return {"ours": ours, "paper": paper, "deviation_percent": deviation}


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def measured_latency_samples(codec: Codec, trials: int = 4) -> int:
    """Measure the algorithmic latency of an exported model.

    A loud click is added to one input sample after another of one chunk of frames. The distance
    from that sample back to the first output sample that changes, both counted, is the latency. A
    click that changes no code is passed over, so the result is a lower bound.

    Returns:
        The largest distance, in samples of the output.
    """
    chunk = codec.chunk_frames * codec.input_frame_samples
    chunks, at = 8, 4
    step = max(1, chunk // 24)
    # The chunk's last sample is among them: all output of the chunk waits for it.
    places = np.arange(chunk - 1, -1, -step) + at * chunk
    ends = -(-(places + 1) * codec.sample_rate_hz // codec.input_rate_hz)
    encoder, decoder = codec.engines()
    rows, longest = len(places), 0
    for trial in range(trials):
        random = np.random.default_rng(trial)
        signal = 0.05 * random.standard_normal((1, codec.channels, chunks * chunk))
        plain = np.repeat(signal.astype(np.float32), rows, axis=0)
        clicked = plain.copy()
        clicked[np.arange(rows), ..., places] += CLICKS[trial % len(CLICKS)]
        outputs = []
        for audio in (plain, clicked):
            codes, _ = encoder(audio, encoder.initial_state(rows))
            output, _ = decoder(codes.astype(np.int32), decoder.initial_state(rows))
            outputs.append(output)
        changed = (outputs[0] != outputs[1]).any(axis=1)
        for row in np.flatnonzero(changed.any(axis=1)):
            # The output is late by `delay_samples`.
            first = int(np.argmax(changed[row])) - codec.delay_samples
            longest = max(longest, int(ends[row]) - first)
    return longest
