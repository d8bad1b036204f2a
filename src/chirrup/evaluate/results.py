"""What an evaluation writes: a folder with ``results.jsonl`` and the audio that was scored.

The first line of ``results.jsonl`` tells of the run, each other one of a clip through a codec::

    {"kind": "run", "created": "2026-11-21T15:00:00", "versions": {"chirrup": "0.1.0", ...}, ...}
    {"kind": "clip", "codec": "opus", "label": "Opus", "bitrate_bps": 6000, ...}

Audio is ``audio/CONDITION/CLIP/reference.flac`` and ``audio/CONDITION/CLIP/CODEC-BITRATE.flac``, of
the same length, delay removed, levels untouched.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chirrup.files.drafts import written

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Row:
    """One clip through one codec.

    Attributes:
        codec, label: its key, and what to call it.
        ours: whether it is a model of this package.
        version: of the codec: of a model, the start of its weights' hash; else empty.
        bitrate_bps: nominal, of each channel coded one by one.
        condition: key in `conditions.CONDITIONS`: what was done to the clip.
        clip: the file's name without its ending; speaker: whose intervals it shares.
        seconds: length of the clip.
        bits: payload that was sent.
        encode_seconds, decode_seconds: wall time.
        delay_ms: what was removed, one value for each codec and bitrate.
        source: a hash of the clip and of the settings that change what is coded of it.
        scores: by metric; None is blank.
        blank: why a score is blank, by metric.
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
        """A codec at a bitrate: ``opus-6000``, also the name of its audio."""
        return f"{self.codec}-{self.bitrate_bps}"

    @property
    def title(self) -> str:
        return f"{self.label} {self.bitrate_bps / 1000:g}k"


@dataclass(frozen=True)
class Results:
    """A run: what it was made with, and its rows."""

    run: dict[str, Any]
    rows: list[Row]

    def write(self, path: Path) -> None:
        """To ``path``, whole or not at all."""
        lines: Iterable[dict[str, Any]] = [
            {"kind": "run", **self.run},
            *({"kind": "clip", **asdict(row)} for row in self.rows),
        ]
        with written(path) as draft:
            draft.write_text("".join(_json(line) + "\n" for line in lines))

    @staticmethod
    def read(path: Path) -> "Results":
        """From a ``results.jsonl``.

        Raises:
            ValueError: it is none.
        """
        run: dict[str, Any] = {}
        rows = []
        names = {item.name for item in fields(Row)}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                values = json.loads(line)
                kind = values.pop("kind")
                if kind == "run":
                    run = values
                else:
                    rows.append(_checked(Row(**{key: values[key] for key in names & set(values)})))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path}, line {number}, is no line of results: {error}"
                ) from error
        return Results(run, rows)


_INFINITE = "\0infinite"


def _json(line: dict[str, Any]) -> str:
    """JSON, which has no NaN and no infinity: a score that is none becomes null, and that of equal
    signals 1e999, which every reader takes for infinity.

    Raises:
        ValueError: another value is not finite.
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
    """The row, if its values are of their types.

    Raises:
        TypeError: they are not.
        ValueError: it is of a clip without a length.
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
    """Where a clip's audio is; ``name`` is "reference" or a row's ``system``."""
    return folder / "audio" / condition / clip / f"{name}.flac"
