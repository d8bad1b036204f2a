"""Perceptual metrics with a reference, each from its usual package: PESQ, STOI, ESTOI and ViSQOL.

PESQ and ViSQOL in speech mode ignore frequencies above 8 kHz, and STOI and ESTOI above 5 kHz. A
codec loses no score if it removes these frequencies.
"""

import math
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from chirrup.evaluate.metrics.metric import BLANK, Metric, at_rate, is_silent, package

PESQ_HZ = 16_000
PESQ_LONGEST_S = 19
"""ITU's C code has room for 50 utterances and writes past it. An utterance and the pause after it
take at least 97 windows of 4 ms, so utterance 51 starts after 19.4 s at the earliest."""
STOI_HZ = 10_000
VISQOL_SPEECH_HZ = 16_000
VISQOL_AUDIO_HZ = 48_000
VISQOL_SPEECH_S = 0.7
VISQOL_AUDIO_S = 1.0
"""Shortest clips in which ViSQOL finds a patch to compare."""

EXTRA = "chirrup[eval]"


def pesq_wb(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Wide-band PESQ as MOS-LQO, by the ``pesq`` package (ITU-T's code).

    PESQ aligns time and level, as the standard requires. A clip of more than 19 s is cut into equal
    parts of at most 19 s, and its score is the mean of the parts that are not blank.

    Rate: 16 kHz. Reference: needed. Range: 1.02 to 4.64, higher is better. Blank: either is
    digital silence, PESQ finds no utterance, or the clip is shorter than a quarter of a second.
    Source: ITU-T P.862 with the wide-band extension P.862.2.
    """
    load_pesq()
    pair = [at_rate(audio, sample_rate_hz, PESQ_HZ) for audio in (reference, decoded)]
    count = max(1, math.ceil(len(pair[0]) / (PESQ_LONGEST_S * PESQ_HZ)))
    parts = zip(*(np.array_split(audio, count) for audio in pair), strict=True)
    scores = [value for part in parts if not math.isnan(value := _pesq_part(*part))]
    return float(np.mean(scores)) if scores else BLANK


def _pesq_part(reference: np.ndarray, decoded: np.ndarray) -> float:
    pesq = load_pesq()
    if is_silent(reference) or is_silent(decoded):
        return BLANK
    try:
        return float(pesq.pesq(PESQ_HZ, reference, decoded, "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return BLANK


def stoi(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Short-time objective intelligibility, by the ``pystoi`` package, which resamples.

    Rate: 10 kHz. Reference: needed. Range: about 0 to 1, higher is better. Blank: either is
    digital silence, or fewer than 30 frames (0.4 s) of the reference are within 40 dB of its
    loudest one.
    Source: Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted
    noisy speech", IEEE Trans. ASLP, 2011.
    """
    return _stoi(reference, decoded, sample_rate_hz, extended=False)


def estoi(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Extended STOI, which correlates whole spectra of short segments. All else is as in ``stoi``.

    Source: Jensen and Taal, "An algorithm for predicting the intelligibility of speech masked by
    modulated noise maskers", IEEE/ACM Trans. ASLP, 2016.
    """
    return _stoi(reference, decoded, sample_rate_hz, extended=True)


def _stoi(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int, extended: bool) -> float:
    pystoi = load_stoi()
    if is_silent(reference) or is_silent(decoded):
        return BLANK
    pair = [np.asarray(audio, dtype=np.float64) for audio in (reference, decoded)]
    if len(pair[0]) < STOI_MINIMUM_S * sample_rate_hz:
        return BLANK
    # pystoi adds noise of 1e-16 from numpy's global generator. Its seed makes the score repeatable,
    # and its state is restored for the caller.
    generator = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            # Below 30 frames pystoi warns and returns 1e-5, which is not a score.
            warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
            return float(pystoi.stoi(*pair, sample_rate_hz, extended=extended))
    except RuntimeWarning:
        return BLANK
    finally:
        np.random.set_state(generator)


STOI_MINIMUM_S = 0.1
"""Below one frame, pystoi raises an error instead of a warning."""


def visqol_speech(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """ViSQOL 3 in speech mode with its lattice model (the default of Google's program), by the
    ``visqol-python`` package. ViSQOL aligns time and level.

    Without the runtime of the lattice model (ai-edge-litert), the package would use another mapping
    with other scores, so the metric is unavailable then.

    Rate: 16 kHz. Reference: needed. Range: 1 to 5, in practice up to about 4.7, higher is better.
    Blank: either is digital silence, or the clip is shorter than 0.7 s.
    Source: Chinen et al., "ViSQOL v3: an open source production ready objective speech and audio
    metric", QoMEX 2020.
    """
    api = load_visqol_speech()
    return _visqol(api, reference, decoded, sample_rate_hz, VISQOL_SPEECH_HZ, VISQOL_SPEECH_S)


def visqol_audio(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """ViSQOL 3 in audio mode, for music and for speech with frequencies above 8 kHz.

    Rate: 48 kHz. Reference: needed. Range: 1 to 5, 4.73 for equal signals, higher is better.
    Blank: either is digital silence, or the clip is shorter than 1 s.
    Source: as ``visqol_speech``.
    """
    api = load_visqol_audio()
    return _visqol(api, reference, decoded, sample_rate_hz, VISQOL_AUDIO_HZ, VISQOL_AUDIO_S)


def _visqol(
    api: Any,
    reference: np.ndarray,
    decoded: np.ndarray,
    sample_rate_hz: int,
    rate_hz: int,
    shortest_s: float,
) -> float:
    if is_silent(reference) or is_silent(decoded):
        return BLANK
    if len(reference) < shortest_s * sample_rate_hz:
        return BLANK
    pair = (at_rate(audio, sample_rate_hz, rate_hz) for audio in (reference, decoded))
    return float(api.measure_from_arrays(*pair, rate_hz).moslqo)


def load_pesq() -> Any:
    return package("pesq", EXTRA)


def load_stoi() -> Any:
    return package("pystoi", EXTRA)


@cache
def load_visqol_speech() -> Any:
    package("ai_edge_litert.interpreter", EXTRA)
    api = package("visqol", EXTRA).VisqolApi()
    with quiet():
        api.create(mode="speech", use_lattice_model=True)
    return api


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Suppress the messages that TensorFlow's library writes to stderr past Python."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@cache
def load_visqol_audio() -> Any:
    api = package("visqol", EXTRA).VisqolApi()
    api.create(mode="audio")
    return api


PESQ = Metric("pesq_wb", "PESQ-wb", "", "higher", 2, PESQ_HZ, True, 1, 4.64, pesq_wb)
STOI = Metric("stoi", "STOI", "", "higher", 3, STOI_HZ, True, 0, 1, stoi)
ESTOI = Metric("estoi", "ESTOI", "", "higher", 3, STOI_HZ, True, 0, 1, estoi)
VISQOL_SPEECH = Metric(
    "visqol_speech", "ViSQOL speech", "", "higher", 2, VISQOL_SPEECH_HZ, True, 1, 5, visqol_speech
)
VISQOL_AUDIO = Metric(
    "visqol_audio", "ViSQOL audio", "", "higher", 2, VISQOL_AUDIO_HZ, True, 1, 5, visqol_audio
)
METRICS = {
    PESQ: load_pesq,
    STOI: load_stoi,
    ESTOI: load_stoi,
    VISQOL_SPEECH: load_visqol_speech,
    VISQOL_AUDIO: load_visqol_audio,
}
