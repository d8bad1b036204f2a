"""The output of an evaluation: a folder with ``results.jsonl`` and the scored audio.

The first line of ``results.jsonl`` describes the run. Each other line is a clip through a system::

    {"kind": "run", "created": "2026-11-21T15:00:00", "versions": {"chirrup": "0.1.0", ...}, ...}
    {"kind": "clip", "codec": "opus", "label": "Opus", "bitrate_bps": 6000, ...}

The folder ``audio/CONDITION/CLIP`` has ``reference.flac``, and ``CODEC-BITRATE.flac`` of each
system. The files of a clip have the same length. Delays are removed, and levels are not changed.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chirrup.files.drafts import written
from chirrup.parsing import parsing

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Row:
    """One clip through one codec.

    Attributes:
        codec, label: name of the codec in files, and for readers.
        ours: whether the codec is a model of this package.
        version: version of the codec. For a model it is the start of its weights' hash.
        bitrate_bps: nominal bitrate, of each channel if channels are coded one by one.
        condition: name of the `conditions.Condition`.
        clip: name of the file without its ending.
        speaker: speaker of the clip. The bootstrap of the intervals draws speakers.
        seconds: length of the clip.
        bits: size of the codes or packets.
        encode_seconds, decode_seconds: wall time.
        delay_ms: delay that was removed, the same for all clips of a system.
        source: hash of the clip, its language and the settings that change the coded signal.
        scores: score of each metric; None is blank.
        blank: reason of each blank score.
    """

    codec: str
    label: str
    ours: bool
    version: str
    bitrate_bps: int
    condition: str
    clip: str
    speaker: str
    seconds: float
    bits: int
    encode_seconds: float
    decode_seconds: float
    delay_ms: float
    source: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)
    blank: dict[str, str] = field(default_factory=dict)

    @property
    def kbps(self) -> float:
        return self.bits / self.seconds / 1000

    @property
    def system(self) -> str:
        """Name of the codec at its bitrate, such as ``opus-6000``, and of the audio file."""
        return f"{self.codec}-{self.bitrate_bps}"

    @property
    def title(self) -> str:
        return f"{self.label} {self.bitrate_bps / 1000:g}k"


def total_kbps(rows: Iterable[Row]) -> float:
    """Return the bitrate of all clips together: their bits over their seconds."""
    bits, seconds = zip(*((row.bits, row.seconds) for row in rows), strict=True)
    return float(sum(bits) / sum(seconds) / 1000)


@dataclass(frozen=True)
class Results:
    """The settings and versions of a run, and its rows."""

    run: dict[str, Any]
    rows: list[Row]

    def write(self, path: Path) -> None:
        """Write a ``results.jsonl``. The file appears whole or not at all."""
        lines: Iterable[dict[str, Any]] = [
            {"kind": "run", **self.run},
            *({"kind": "clip", **asdict(row)} for row in self.rows),
        ]
        with written(path) as draft:
            draft.write_text("".join(_json(line) + "\n" for line in lines))

    @staticmethod
    def read(path: Path) -> "Results":
        """Read a ``results.jsonl``.

        Raises:
            ValueError: a line is not as `write` writes it.
        """
        run: dict[str, Any] = {}
        rows = []
        names = {item.name for item in fields(Row)}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                with parsing():
                    values = json.loads(line)
                    kind = values.pop("kind")
                    if kind == "run":
                        run = values
                    else:
                        known = {key: values[key] for key in names & set(values)}
                        rows.append(_checked(Row(**known)))
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number}, cannot be read as results: {error}"
                ) from error
        return Results(run, rows)


_INFINITE = "\0infinite"


def _json(line: dict[str, Any]) -> str:
    """Write a line as JSON, which has neither NaN nor infinity.

    A score of NaN becomes null. An infinite score becomes 1e999, which readers parse as infinity.

    Raises:
        ValueError: a value other than a score is not finite.
    """
    if scores := line.get("scores"):
        marked = {
            name: None
            if value is None or math.isnan(value)
            else value
            if math.isfinite(value)
            else f"{'-' * (value < 0)}{_INFINITE}"
            for name, value in scores.items()
        }
        line = line | {"scores": marked}
    text = json.dumps(line, allow_nan=False)
    for sign in ("", "-"):
        text = text.replace(json.dumps(sign + _INFINITE), f"{sign}1e999")
    return text


def _checked(row: Row) -> Row:
    """Return the row.

    Raises:
        TypeError: a value has a wrong type.
        ValueError: the length of the clip is not positive.
    """
    for item in fields(row):
        value = getattr(row, item.name)
        kind = item.type if isinstance(item.type, type) else dict  # or dict[...]
        if not isinstance(value, (float, int) if kind is float else kind):
            raise TypeError(f"{item.name} is {value!r}")
    if not row.seconds > 0:
        raise ValueError(f"seconds is {row.seconds}")
    if not all(value is None or isinstance(value, (float, int)) for value in row.scores.values()):
        raise TypeError(f"scores is {row.scores}")
    return row


def audio_path(folder: Path, condition: str, clip: str, name: str) -> Path:
    """Return the path of a clip's audio. ``name`` is "reference" or the ``system`` of a row."""
    return folder / "audio" / condition / clip / f"{name}.flac"
