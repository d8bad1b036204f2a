"""Metrics of the LRAC challenge 2025: four with separate weights, and the aggregate score.

The challenge used PESQ-wb, UTMOS, SCOREQ-ref, SHEET-SSQA and the content enjoyment of Audiobox
Aesthetics. PESQ is in ``perceptual``. No package has the weights of the others, so each metric here
needs a file of the user, and is blank without it.

The file is an ONNX graph at 16 kHz with one float32 input ``[1, samples]``. An environment variable
names it, or ``with_model`` takes it.

================== ========================= ====================================================
metric             variable                  graph
================== ========================= ====================================================
``utmos``          CHIRRUP_UTMOS             utmos22_strong with a fixed rate; returns the MOS
``sheet_ssqa``     CHIRRUP_SHEET_SSQA        SHEET's default SSQA model; returns the MOS
``audiobox_ce``    CHIRRUP_AUDIOBOX_CE       Audiobox Aesthetics; returns CE in its own units
``scoreq_ref``     CHIRRUP_SCOREQ_REF        ``fixed_nmr_telephone.onnx``, which the ``scoreq``
                                             package keeps in ``~/.cache/scoreq/onnx-models``;
                                             returns an embedding
================== ========================= ====================================================

``torch.onnx.export(model, waveform, path, dynamic_axes=...)`` exports the torch models. The
docstring of each metric has the source of its weights.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.evaluate.metrics.metric import (
    BLANK,
    Metric,
    ScoreFunction,
    Unavailable,
    at_rate,
    is_silent,
    package,
)

RATE_HZ = 16_000
SHORTEST_S = 1.0
SCOREQ_MULTIPLE = 320
"""SCOREQ pads with zeros to whole frames of wav2vec 2.0."""


def utmos(
    reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int, path: Path | None = None
) -> float:
    """UTMOS (utmos22_strong), a predicted mean opinion score.

    Rate: 16 kHz. Reference: not used. Range: 1 to 5, higher is better. Blank: the decoded signal
    is digital silence, or shorter than 1 s.
    Source: Saeki et al., "UTMOS: UTokyo-SaruLab system for VoiceMOS challenge 2022", Interspeech
    2022; weights by ``torch.hub.load("tarepan/SpeechMOS", "utmos22_strong")``.
    """
    return _number(load("utmos", path), decoded, sample_rate_hz)


def sheet_ssqa(
    reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int, path: Path | None = None
) -> float:
    """SHEET-SSQA, a predicted mean opinion score.

    Rate: 16 kHz. Reference: not used. Range: 1 to 5, higher is better. Blank: as ``utmos``.
    Source: Huang et al., "MOS-Bench: benchmarking generalization abilities of subjective speech
    quality assessment models", 2024; weights by
    ``torch.hub.load("unilight/sheet:v0.1.0", "default")``.
    """
    return _number(load("sheet_ssqa", path), decoded, sample_rate_hz)


def audiobox_ce(
    reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int, path: Path | None = None
) -> float:
    """Content enjoyment (CE) of Audiobox Aesthetics.

    Rate: 16 kHz. Reference: not used. Range: 1 to 10, higher is better. Blank: as ``utmos``.
    Source: Tjandra et al., "Meta Audiobox Aesthetics: unified automatic quality assessment for
    speech, music, and sound", 2025; weights by the ``audiobox_aesthetics`` package.
    """
    return _number(load("audiobox_ce", path), decoded, sample_rate_hz)


def scoreq_ref(
    reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int, path: Path | None = None
) -> float:
    """SCOREQ with reference, natural speech: the distance between two embeddings.

    Rate: 16 kHz. Reference: needed. Range: 0 to 2, lower is better. Blank: either is digital
    silence, or the clip is shorter than 1 s.
    Source: Ragano et al., "SCOREQ: speech quality assessment with contrastive regression",
    NeurIPS 2024; Zenodo record 15739280.
    """
    model = load("scoreq_ref", path)
    embeddings = []
    for audio in (reference, decoded):
        if not _scorable(audio, sample_rate_hz):
            return BLANK
        wave = at_rate(audio, sample_rate_hz, RATE_HZ)
        embeddings.append(model(np.pad(wave, (0, -len(wave) % SCOREQ_MULTIPLE))))
    return float(np.linalg.norm(embeddings[1] - embeddings[0]))


def _number(model: Callable[..., np.ndarray], audio: np.ndarray, sample_rate_hz: int) -> float:
    if not _scorable(audio, sample_rate_hz):
        return BLANK
    output = model(at_rate(audio, sample_rate_hz, RATE_HZ))
    if output.size != 1:
        raise Unavailable(f"the model returns {output.size} numbers for a clip instead of one")
    return float(output.ravel()[0])


def _scorable(audio: np.ndarray, sample_rate_hz: int) -> bool:
    return not is_silent(audio) and len(audio) >= SHORTEST_S * sample_rate_hz


def variable(name: str) -> str:
    """Return the environment variable that names a metric's file."""
    return f"CHIRRUP_{name.upper()}"


def load(name: str, path: Path | None = None) -> Callable[..., np.ndarray]:
    """Load the network of a metric from ``path``, or from the file that its variable names."""
    given = str(path) if path else os.environ.get(variable(name), "")
    if not given:
        raise Unavailable(f"no package has its weights: set {variable(name)} to an ONNX file")
    if not Path(given).is_file():
        raise Unavailable(f"{given} does not exist: set {variable(name)} to an ONNX file")
    return _load(given)


@cache
def _load(path: str) -> Callable[..., np.ndarray]:
    runtime: Any = package("onnxruntime", "chirrup[eval]")
    try:
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Unavailable(f"{path} is not an ONNX graph that onnxruntime can read") from error
    inputs = [value.name for value in session.get_inputs()]
    if len(inputs) != 1:
        raise Unavailable(f"{path} has {len(inputs)} inputs instead of one waveform")
    return lambda wave: session.run(None, {inputs[0]: wave[None].astype(np.float32)})[0]


def with_model(name: str, path: str | Path) -> Metric:
    """Return a metric whose network is in ``path``. The environment variable is ignored.

    Raises:
        KeyError: the metric is not one of this module.
    """
    metric = next((m for m in METRICS if m.name == name), None)
    if metric is None:
        raise KeyError(f"no metric {name!r}: use {', '.join(m.name for m in METRICS)}")
    score: ScoreFunction = partial(_SCORES[name], path=Path(path))
    return replace(metric, score=score)


_SCORES: dict[str, Callable[..., float]] = {
    "utmos": utmos,
    "scoreq_ref": scoreq_ref,
    "sheet_ssqa": sheet_ssqa,
    "audiobox_ce": audiobox_ce,
}
UTMOS = Metric("utmos", "UTMOS", "", "higher", 2, RATE_HZ, False, 1, 5, utmos)
SCOREQ = Metric("scoreq_ref", "SCOREQ-ref", "", "lower", 2, RATE_HZ, True, 0, 2, scoreq_ref)
SSQA = Metric("sheet_ssqa", "SHEET-SSQA", "", "higher", 2, RATE_HZ, False, 1, 5, sheet_ssqa)
AUDIOBOX = Metric("audiobox_ce", "Audiobox-CE", "", "higher", 2, RATE_HZ, False, 1, 10, audiobox_ce)
METRICS = {metric: partial(load, metric.name) for metric in (UTMOS, SCOREQ, SSQA, AUDIOBOX)}


def track1_aggregate(
    mushra: tuple[float, float],
    dmos_real: tuple[float, float],
    dmos_simultaneous: tuple[float, float],
    drt: float,
) -> float:
    """Compute the aggregate score of listening tests in track 1 of the LRAC challenge 2025.

    The weights are 0.2 for each score of ``mushra`` and ``dmos_real``, 0.05 for each of
    ``dmos_simultaneous`` and 0.1 for ``drt``, all scaled to 0 to 100. They reproduce the seven
    published results to 0.01. The weights of track 2 are not published.

    Args:
        mushra: MUSHRA of clean speech at 1 and 6 kbit/s, 0 to 100.
        dmos_real: DMOS in real noise and reverberation at 1 and 6 kbit/s, 1 to 5.
        dmos_simultaneous: DMOS with two talkers at 1 and 6 kbit/s, 1 to 5.
        drt: diagnostic rhyme test at 1 kbit/s, -100 to 100.

    Returns:
        0 to 100.

    Raises:
        ValueError: a score is out of its range.
    """
    for name, low, high, values in (
        ("mushra", 0, 100, mushra),
        ("dmos_real", 1, 5, dmos_real),
        ("dmos_simultaneous", 1, 5, dmos_simultaneous),
        ("drt", -100, 100, (drt,)),
    ):
        if not all(low <= value <= high for value in values):
            raise ValueError(f"{name} is {values}: it must be from {low} to {high}")
    real, simultaneous = (
        [100 * (value - 1) / 4 for value in pair] for pair in (dmos_real, dmos_simultaneous)
    )
    rhyme = (drt + 100) / 2
    return 0.2 * sum(mushra) + 0.2 * sum(real) + 0.05 * sum(simultaneous) + 0.1 * rhyme
