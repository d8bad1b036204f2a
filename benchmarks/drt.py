"""A diagnostic rhyme test of codecs by a speech recogniser.

    python benchmarks/drt.py words WORDS [--voices en-us en-gb ...]
    chirrup evaluate WORDS -c iris-t1@1k,6k -c codec2@1200 -m snr --listen 0 --out RESULTS
    python benchmarks/drt.py score RESULTS

``words`` makes recordings of the 192 words with espeak-ng. ``score`` reads any folder that
``chirrup evaluate`` wrote from recordings of words, so it covers noise, rooms and networks, too.

The recogniser is the one of the metric ``wer``. It gives log-probabilities of the two words of a
pair. A trial has the recordings of both words: it is right if the ratio of the probabilities of the
first word and the second word is higher in the recording of the first word. A threshold would
measure which words are common in English. A score is 100 (right - wrong) / all, 0 for guesses.
"""

import argparse
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from chirrup.errors import FileError
from chirrup.evaluate.clips import read_clip
from chirrup.evaluate.listening_tests.items import REFERENCE, Settings, read_items
from chirrup.evaluate.listening_tests.significance import bootstrapped
from chirrup.evaluate.listening_tests.words import FEATURES, PAIRS, Pair, talker_of, word_of
from chirrup.evaluate.metrics.learned import EXTRA_ALL
from chirrup.evaluate.metrics.metric import package
from chirrup.evaluate.metrics.recognition import RATE_HZ, load_recogniser
from chirrup.evaluate.results import audio_path
from chirrup.files.drafts import written
from shared import console, table

VOICES = ("en-us", "en-gb", "en-us+f2", "en-gb-scotland+f4")
"""Two male and two female voices."""
RESPELLED = {"than": "[[D'an]]", "thole": "thoal"}
"""Words that espeak-ng would pronounce with a weak vowel or a t."""
WORDS_A_MINUTE = 130
SILENCE_S = 0.3
WINDOW_S = 4
"""Audio that the recogniser gets, instead of its usual 30 s, which takes six times as long."""


def make_words(folder: Path, voices: list[str]) -> None:
    """Record each word by each voice of espeak-ng as ``VOICE__WORD.wav``."""
    if shutil.which("espeak-ng") is None:
        raise FileError("the words need espeak-ng: apt-get install espeak-ng")
    folder.mkdir(parents=True, exist_ok=True)
    for voice in voices:
        for pair in PAIRS:
            for word in pair.words:
                with written(folder / f"{voice}__{word}.wav") as draft:
                    options = ("-v", voice, "-s", str(WORDS_A_MINUTE), "-w", str(draft))
                    said = RESPELLED.get(word, word)
                    subprocess.run(["espeak-ng", *options, said], check=True)


@cache
def tokens(words: tuple[str, str]) -> tuple[list[int], list[list[int]]]:
    """Return the tokens that begin a transcript, and the tokens of each word as a transcript."""
    recogniser = load_recogniser()
    tokenizer = package("faster_whisper.tokenizer", EXTRA_ALL).Tokenizer(
        recogniser.hf_tokenizer, False, task="transcribe", language="en"
    )
    texts = [[*tokenizer.encode(f" {word.title()}."), tokenizer.eot] for word in words]
    return [*tokenizer.sot_sequence, tokenizer.no_timestamps], texts


def log_ratio(audio: np.ndarray, words: tuple[str, str]) -> float:
    """Return the log-probability of the first word less that of the second.

    Args:
        audio: ``float32 [samples]`` at `RATE_HZ`.
    """
    pad_or_trim = package("faster_whisper.audio", EXTRA_ALL).pad_or_trim
    recogniser: Any = load_recogniser()
    silence = np.zeros(round(SILENCE_S * RATE_HZ), np.float32)
    features = recogniser.feature_extractor(np.concatenate([silence, audio, silence]))
    frames = min(features.shape[1], 100 * WINDOW_S)
    encoded = recogniser.encode(pad_or_trim(features, 100 * WINDOW_S))
    begin, texts = tokens(words)
    logs = []
    for text in texts:
        (aligned,) = recogniser.model.align(encoded, begin, [text], [frames])
        logs.append(float(np.log(np.array(aligned.text_token_probs) + 1e-12).sum()))
    return logs[0] - logs[1]


def score(results: Path) -> None:
    """Print the scores of each condition and system."""
    spoken: dict[tuple[str, str], dict[str, str]] = {}
    titles = {REFERENCE: "uncoded"}
    for item in read_items(results, Settings("drt")):
        spoken.setdefault((item.condition, talker_of(item.clip)), {})[word_of(item.clip)] = (
            item.clip
        )
        titles |= {name: row.title for name, row in item.rows.items()}
    trials = [
        (condition, talker, pair, system)
        for condition, talker in spoken
        for pair in PAIRS
        for system in titles
        if set(pair.words) <= spoken[condition, talker].keys()
    ]
    if not trials:
        raise FileError(f"{results} has no talker who says both words of a pair")
    right: dict[tuple[str, str], dict[tuple[str, Pair], float]] = {}
    for condition, talker, pair, system in track(trials, console=console, transient=True):
        ratios = []
        for word in pair.words:
            clip = spoken[condition, talker][word]
            path = audio_path(results, condition, clip, system)
            ratios.append(log_ratio(read_clip(path, RATE_HZ, mono=True)[0][0], pair.words))
        value = 100.0 if ratios[0] > ratios[1] else -100.0
        right.setdefault((condition, system), {})[talker, pair] = value
    for condition in dict.fromkeys(condition for condition, _ in right):
        talkers = list(dict.fromkeys(talker for place, talker in spoken if place == condition))
        out = table(f"{condition}, {len(talkers)} talkers", "system", "DRT", *FEATURES)
        for system, title in titles.items():
            cells = []
            for names in (FEATURES, *((feature,) for feature in FEATURES)):
                cells.append(_cell(right[condition, system], talkers, names))
            out.add_row(title, *cells)
        console.print(out)


def _cell(
    values: dict[tuple[str, Pair], float], talkers: list[str], features: tuple[str, ...]
) -> str:
    pairs = [pair for pair in PAIRS if pair.feature in features]
    grid = np.array([[values.get((who, pair), np.nan) for pair in pairs] for who in talkers])
    grid = grid[:, np.isfinite(grid).any(0)]
    if not grid.size:
        return "-"
    found = bootstrapped(grid)
    spread = f" ({found.low:.0f} to {found.high:.0f})" if len(features) > 1 else ""
    return f"{found.mean:.0f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    words = commands.add_parser("words", help="make recordings with espeak-ng")
    words.add_argument("folder", type=Path)
    words.add_argument("--voices", nargs="+", default=list(VOICES))
    scores = commands.add_parser("score", help="score a folder that chirrup evaluate wrote")
    scores.add_argument("results", type=Path)
    options = parser.parse_args()
    try:
        if options.command == "words":
            make_words(options.folder, options.voices)
        else:
            score(options.results)
    except (FileError, subprocess.CalledProcessError) as error:
        sys.exit(f"drt.py: {error}")


if __name__ == "__main__":
    main()
