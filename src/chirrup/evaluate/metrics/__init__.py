"""Metrics of a decoded signal, most of them against its reference.

>>> score("pesq_wb", reference, decoded, 24_000)
2.31

Each metric's docstring gives its rate, whether it uses the reference, its range, when it is blank
and its source. What is missing is said by ``available``; pip install 'chirrup[eval]' brings the
metrics that need neither torch nor a recogniser, 'chirrup[eval-all]' the rest.

Reference and decoded have the same rate and length, and the codec's delay is already removed.
Levels are never changed here.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chirrup.evaluate.metrics import (
    learned,
    lrac,
    perceptual,
    recognition,
    spectral,
    stereo,
    waveform,
)
from chirrup.evaluate.metrics.metric import Metric, Unavailable

__all__ = ["METRICS", "Metric", "Unavailable", "available", "check_language", "score"]

_LOADERS: dict[Metric, Callable[[], Any]] = {
    **perceptual.METRICS,
    **learned.METRICS,
    **recognition.METRICS,
    **lrac.METRICS,
}
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *perceptual.METRICS,
        *learned.METRICS,
        *recognition.METRICS,
        *spectral.METRICS,
        *waveform.METRICS,
        *stereo.METRICS,
        *lrac.METRICS,
    )
}
"""All metrics by name, in the order of tables."""


def available(name: str) -> str | None:
    """None if the metric can run here, else why not and what to install.

    Loads the metric's packages and network, which the first score then finds loaded.
    """
    try:
        _LOADERS.get(METRICS[name], lambda: None)()
    except Unavailable as reason:
        return str(reason)
    return None


def check_language(name: str, language: str | None) -> None:
    """Raise Unavailable if a metric does not know the language of a clip, an ISO 639 code.

    A language that is not given counts as one that the metric knows.
    """
    known = METRICS[name].languages
    if language and known is not None and language not in known():
        raise Unavailable(f"the recogniser knows {', '.join(known())}, the clip is in {language}")


def score(
    name: str, reference: np.ndarray | None, decoded: np.ndarray, sample_rate_hz: int
) -> float | None:
    """One metric of one clip; None where it has no answer for this clip.

    ``reference`` and ``decoded`` are ``[samples]`` or ``[channels, samples]``. Of several channels
    a metric at the audio's own rate (the waveform and spectral ones) is the mean over those that
    have an answer; one with a rate of its own hears their mean, as ViSQOL does and as the others,
    made for mono, leave open. The stereo ones hear both at once, and have no answer for mono. A
    metric without reference takes None for it.

    SNR and SI-SDR of equal signals are infinite. Raises Unavailable if the metric cannot run here,
    ValueError for signals that do not fit each other or are not numbers.
    """
    metric = METRICS[name]
    if reference is None:
        if metric.needs_reference:
            raise ValueError(f"{metric.label} needs a reference")
        reference = decoded
    pair = [_channels(reference), _channels(decoded)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(
            "reference and decoded are to have the same channels and samples, "
            f"not {list(pair[0].shape)} and {list(pair[1].shape)}"
        )
    if metric.rate_hz is not None:
        pair = [audio.mean(axis=0, keepdims=True) for audio in pair]
    if metric.joint:
        value = float(metric.score(pair[0], pair[1], sample_rate_hz))
        return None if math.isnan(value) else value
    values = [float(metric.score(r, d, sample_rate_hz)) for r, d in zip(*pair, strict=True)]
    values = [value for value in values if not math.isnan(value)]
    return float(np.mean(values)) if values else None


def _channels(audio: np.ndarray) -> np.ndarray:
    """``[channels, samples]`` of float64."""
    audio = np.atleast_2d(np.asarray(audio, dtype=np.float64))
    if audio.ndim != 2 or not audio.size:
        raise ValueError(f"audio is to be [samples] or [channels, samples], not {audio.shape}")
    if not np.isfinite(audio).all():
        raise ValueError("audio contains NaN or infinity")
    return audio
