"""The rows of earlier runs in a folder: the metrics that they lack, and the scores that stay."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from chirrup.errors import FileError
from chirrup.evaluate import metrics
from chirrup.evaluate.results import RESULTS, Results, Row

NO_ANSWER = "no answer for this clip"
"""The reason of a blank score that stays blank."""
Key = tuple[str, int, str, str]
"""Codec, bitrate in bit/s, condition and clip of a row."""


def read_rows(folder: Path) -> dict[Key, Row]:
    """Read the rows of a folder; a folder without results has none.

    Raises:
        FileError: the results cannot be read.
    """
    path = folder / RESULTS
    if not path.exists():
        return {}
    try:
        rows = Results.read(path).rows
    except ValueError as error:
        raise FileError(f"{error}: use another folder, or remove the file") from error
    return {(row.codec, row.bitrate_bps, row.condition, row.clip): row for row in rows}


def file_hash(path: Path) -> str:
    """Return a hash of the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def lacking(
    row: Row | None,
    version: str,
    source: str,
    wanted: Sequence[str],
    language: str | None,
    available: Callable[[str], str | None],
) -> tuple[str, ...] | None:
    """Return the metrics to compute for a clip, or None if its row is complete.

    Args:
        version, source: of the present codec and audio. A row of others lacks all metrics.
        wanted: names of metrics. A metric that was blank is computed again if it can run now.
        language: ISO 639 code of the clip's language; None is unknown.
        available: returns why a metric cannot run, as `metrics.available` does.
    """
    if row is None or (row.version, row.source) != (version, source):
        return tuple(wanted)
    names = [
        name
        for name in wanted
        if name not in row.scores or _can_run_now(name, row.blank.get(name), language, available)
    ]
    return tuple(names) or None


def _can_run_now(
    name: str,
    reason: str | None,
    language: str | None,
    available: Callable[[str], str | None],
) -> bool:
    """Return whether a metric that was blank for a reason, which is None for a score, can run."""
    if reason in (None, NO_ANSWER) or available(name) is not None:
        return False
    try:
        metrics.check_language(name, language)
    except metrics.Unavailable:
        return False
    return True


def merged(earlier: Row | None, row: Row) -> Row:
    """Return a row with the other scores of the earlier row of the same codec and audio."""
    if earlier is None or (earlier.version, earlier.source) != (row.version, row.source):
        return row
    scores = earlier.scores | row.scores
    blank = {
        name: reason
        for name, reason in (earlier.blank | row.blank).items()
        if scores.get(name) is None
    }
    return replace(row, scores=scores, blank=blank)
