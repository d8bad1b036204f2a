"""What a model costs and how late it is, next to what its paper says. Needs no training extra."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from chirrup.codec import Codec

PARTS = ("encoder", "quantizer", "decoder")


@dataclass(frozen=True)
class Paper:
    """The figures of a paper, where it says them: for each part MFLOPS, and millions of parameters.

    Attributes:
        note: what to know before comparing.
    """

    source: str
    mflops: tuple[float | None, float | None, float | None]
    parameters_m: tuple[float, float, float] | None
    latency_ms: float | None
    bitrates_bps: tuple[int, ...]
    note: str | None = None


SPECTRO_LATENCY = (
    "latency: the paper's 80 ms are an embedding and one of look-ahead; the windows of its "
    "spectrogram, 20 ms long and 10 ms apart, add 10 ms that it does not count"
)
FOCAL_COSTS = ((17_620, 0, 9_240), (131.34, 0, 117.70), 80)
"""MFLOPS, millions of parameters and latency of FocalCodec-Stream at every bitrate."""
FOCAL_SOURCE = "FocalCodec-Stream, arXiv 2509.16195; costs of its released configuration"
FOCAL_NOTE = (
    "decoder: its authors' code runs the refiner twice a chunk, once on nothing (10,080 MFLOPS); "
    "latency: a chunk, of whose last 20 ms only the first sample is heard"
)
TQ_NOTE = (
    "decoder: the paper's 6.31 GMAC/s (12,620 MFLOPS) counts a transposed convolution at the rate "
    "of its output, where all but one in each stride of the inputs are zeros; this decoder counted "
    "so has 6.28, truly 2.47"
)
TQ_BITRATES_BPS = (31_008, 62_016, 124_031)

PAPERS = {
    "spectro": Paper(
        "SpectroStream, arXiv 2508.05207; costs of its released configuration, for stereo",
        (24_145.9, 838.9, 95_313.9),
        (9.25, 16.78, 35.68),
        80,
        (4000, 16_000),
        SPECTRO_LATENCY,
    ),
    "spectro-small": Paper(
        "SpectroStream, arXiv 2508.05207; its widths are four times these",
        (None, None, None),
        None,
        80,
        (4000, 16_000),
        SPECTRO_LATENCY,
    ),
    "iris-t1": Paper(
        "IRIS poster, LRAC challenge 2025, track 1",
        (385.5, 15.46, 294.02),
        (0.973, 0.154, 2.954),
        30,
        (1000, 6000),
    ),
    "iris-t2": Paper(
        "IRIS poster, LRAC challenge 2025, track 2",
        (1875.38, 19.66, 594.26),
        (5.145, 0.209, 5.967),
        30,
        (1000, 6000),
    ),
    "focal-2k": Paper(FOCAL_SOURCE, *FOCAL_COSTS, (550,), FOCAL_NOTE),
    "focal-4k": Paper(FOCAL_SOURCE, *FOCAL_COSTS, (600,), FOCAL_NOTE),
    "focal-65k": Paper(FOCAL_SOURCE, *FOCAL_COSTS, (800,), FOCAL_NOTE),
    "lrac-t1": Paper(
        "baseline of the LRAC challenge 2025, track 1",
        (377.5, 17.05, 296.8),
        None,
        30,
        (1000, 6000),
    ),
    "lrac-t2": Paper(
        "baseline of the LRAC challenge 2025, track 2",
        (1944.2, 38.7, 563.3),
        None,
        50,
        (1000, 6000),
        "decoder: the published configuration counts 594.05; the paper seems to leave out the "
        "first transposed convolution",
    ),
    "tq": Paper(
        "TQCodec, arXiv 2603.01592, table 3, before the imbalanced autoencoder",
        (4800, None, 12_620),
        None,
        None,
        TQ_BITRATES_BPS,
        TQ_NOTE,
    ),
    "tq-imbalanced": Paper(
        "TQCodec, arXiv 2603.01592, table 3",
        (144_000, None, 12_620),
        None,
        None,
        TQ_BITRATES_BPS,
        f"encoder: 72 GMAC/s in the table, some 80 in the text; {TQ_NOTE}",
    ),
}


def audit(codec: Codec) -> dict[str, Any]:
    """The audit of a model as plain values; the latency is measured here."""
    return audit_of(codec.description, measured_latency_samples(codec))


def audit_of(about: dict[str, Any], latency_samples: int) -> dict[str, Any]:
    """The audit of what ``model.json`` says, as plain values.

    MFLOPS follow the LRAC challenge: twice the multiplications of one second, at the highest
    bitrate; activations and FFTs are not counted. They and the parameters were counted on the
    model in training.

    Args:
        latency_samples: as measured.
    """
    paper = PAPERS.get(about["name"])
    counted: dict[str, Any] = about.get("audit", {})
    parts: dict[str, dict[str, dict[str, float | None]]] = {}
    for index, part in enumerate(PARTS):
        ours = counted.get("parts", {}).get(part, {})
        sizes_m = paper and paper.parameters_m
        parts[part] = {
            "mflops": _beside(ours.get("mflops"), paper and paper.mflops[index]),
            "parameters": _beside(ours.get("parameters"), sizes_m and round(1e6 * sizes_m[index])),
        }
    parts["total"] = {
        figure: _beside(*(_sum(parts[part][figure][of] for part in PARTS) for of in _OF))
        for figure in ("mflops", "parameters")
    }
    rate, frame = about["sample_rate_hz"], about["frame_samples"]
    bits = (about["codebook_size"] - 1).bit_length()
    every = {
        round(bits * rate / frame * count): bits * count
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
        "frame_ms": 1000 * frame / rate,
        "latency_ms": {
            "nominal": 1000 * about["latency_samples"] / rate,
            "measured": 1000 * latency_samples / rate,
            "measured_samples": latency_samples,
            "paper": paper.latency_ms if paper else None,
        },
        "encoder_receptive_field_ms": None if field is None else 1000 * field / rate,
        "encoder_receptive_field_samples": field,
    }


_OF = ("ours", "paper")

CLICKS = (1.0, -10.0, 100.0, -1000.0)
"""Beyond full scale too: a small weight has to be seen through the quantizer."""


def _beside(ours: float | None, paper: float | None) -> dict[str, float | None]:
    both = ours is not None and paper
    deviation = 100 * (ours / paper - 1) if ours is not None and both and paper else None
    return {"ours": ours, "paper": paper, "deviation_percent": deviation}


def _sum(values: Any) -> float | None:
    values = list(values)
    return None if None in values else sum(values)


def measured_latency_samples(codec: Codec, trials: int = 4) -> int:
    """How far ahead of an output sample an input sample still changes it, by trying.

    One input sample after another, over one chunk of frames, gets a loud click; the largest
    distance from it back to the first output sample that differs, both counted, is the latency that
    no computer can avoid. A click that the codes do not show is passed over, so this is a lower
    bound.

    Returns:
        It in samples of the output.
    """
    chunk = codec.chunk_frames * codec.input_frame_samples
    chunks, at = 8, 4
    step = max(1, chunk // 24)
    # To the chunk's last sample: the one that all its output waits for.
    places = np.arange(chunk - 1, -1, -step) + at * chunk
    ends = -(-(places + 1) * codec.sample_rate_hz // codec.input_rate_hz)
    encoder, decoder = codec.graphs()
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
            # The output is `delay` late: its sample number n belongs to the input's n - delay.
            first = int(np.argmax(changed[row])) - codec.delay_samples
            longest = max(longest, int(ends[row]) - first)
    return longest
