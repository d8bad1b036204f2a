"""Metrics of a decoded signal, most of them with a reference.

>>> score("pesq_wb", reference, decoded, 24_000)
2.31

The docstring of each metric has its rate, its use of the reference, its range, its blanks and its
source. ``available`` returns why a metric cannot run. ``pip install 'chirrup[eval]'`` installs the
metrics that need neither torch nor a recogniser, and ``'chirrup[eval-all]'`` all others.

Reference and decoded signal have the same rate and length, and the codec's delay is removed. Levels
are not changed.
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
"""All metrics by name, in the order of the columns of tables."""


def available(name: str) -> str | None:
    """Return None if the metric can run here, else the reason and what to install.

    The call loads the packages and the network of the metric.
    """
    try:
        _LOADERS.get(METRICS[name], lambda: None)()
    except Unavailable as reason:
        return str(reason)
    return None


def check_language(name: str, language: str | None) -> None:
    """Check that a metric supports the language of a clip.

    Args:
        language: ISO 639 code. None counts as supported.

    Raises:
        Unavailable: the metric does not support the language.
    """
    known = METRICS[name].languages
    if language and known is not None and language not in known():
        raise Unavailable(
            f"the recogniser supports {', '.join(known())}, but the clip is in {language}"
        )


def score(
    name: str, reference: np.ndarray | None, decoded: np.ndarray, sample_rate_hz: int
) -> float | None:
    """Compute one metric of one clip.

    If there are several channels, a metric at the rate of the audio (waveform and spectral metrics)
    is the mean over the channels that have a score. A metric at a fixed rate is computed from the
    mean of the channels, as ViSQOL does; the other standards define mono only. A stereo metric is
    computed from both channels, and is blank for mono.

    Args:
        name: a key of `METRICS`.
        reference, decoded: ``[samples]`` or ``[channels, samples]``. The reference may be None if
            the metric needs none.

    Returns:
        The score, or None if it is blank. SNR and SI-SDR of equal signals are infinite.

    Raises:
        Unavailable: the metric cannot run here.
        ValueError: the signals have different shapes, or values that are not finite.
    """
    metric = METRICS[name]
    if reference is None:
        if metric.needs_reference:
            raise ValueError(f"{metric.label} needs a reference")
        reference = decoded
    pair = [_channels(reference), _channels(decoded)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(
            "reference and decoded must have the same channels and samples, "
            f"but have {list(pair[0].shape)} and {list(pair[1].shape)}"
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
    """Return float64 ``[channels, samples]``."""
    audio = np.atleast_2d(np.asarray(audio, dtype=np.float64))
    if audio.ndim != 2 or not audio.size:
        raise ValueError(f"audio must be [samples] or [channels, samples], not {audio.shape}")
    if not np.isfinite(audio).all():
        raise ValueError("audio contains NaN or infinity")
    return audio
