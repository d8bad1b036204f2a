"""The class `Row`, an entry of a data set of tokens, and the settings that all rows share."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from chirrup.resampling import length_at
from chirrup.spec import MOST_CHUNK_FRAMES
from chirrup.tokens.layouts import Layout
from chirrup.words import counted


@dataclass(frozen=True)
class Settings:
    """The settings of a data set, which ``dataset.json`` states.

    Attributes:
        model: name of the model.
        weights_sha256: SHA-256 of the weights that produced the codes.
        engine: engine that produced the codes, "native" or "onnx".
        bitrate_bps: bitrate of a stream of codes, in bit/s.
        codebooks: number of codebooks.
        codebook_size: number of values of a code.
        sample_rate_hz: sample rate of the decoded audio.
        frame_samples: samples of a frame at ``sample_rate_hz``.
        delay_samples: samples by which a live decoder's output is late.
        format: one of `formats.FORMATS`.
        flatten: layout of the stored codes.
        separate: whether each channel of a recording has a separate row.
        segment_seconds: longest duration of a row; 0 sets no limit.
    """

    model: str
    weights_sha256: str
    engine: str
    bitrate_bps: int
    codebooks: int
    codebook_size: int
    sample_rate_hz: int
    frame_samples: int
    delay_samples: int
    format: str
    flatten: Layout
    separate: bool
    segment_seconds: float

    def __post_init__(self) -> None:
        """Check values that may come from a file of anybody.

        Raises:
            ValueError: a value has another type, a size is not positive, or the delay is negative.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            kind = field.type if isinstance(field.type, type) else str
            low = 0 if field.name == "delay_samples" else 1
            if not isinstance(value, kind) or (kind is int and value < low):
                raise ValueError(f"{field.name} is {value!r}")

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.frame_samples


@dataclass(frozen=True, eq=False)
class Row:
    """A recording, or a part of one, with its codes.

    Attributes:
        id: unique name in the data set.
        path: name of the recording in its source.
        start_s: start of the row in the recording, in s.
        duration_s: duration of the row, in s.
        sample_rate_hz: sample rate of the recording.
        channels: number of channels of the recording.
        channel: channel of the row, from 0 on. -1 if it has all of them, averaged or coded jointly.
        speaker: speaker; empty if the source states none.
        text: text; empty if the source states none.
        samples: length of the decoded audio, at the codec's sample rate.
        codes: ``int16 [codebooks, frames]``; int32 if codes have 16 bits.
    """

    id: str
    path: str
    start_s: float
    duration_s: float
    sample_rate_hz: int
    channels: int
    channel: int
    speaker: str
    text: str
    samples: int
    codes: np.ndarray

    def facts(self) -> dict[str, Any]:
        """Return all fields except the codes."""
        return {name: value for name, value in vars(self).items() if name != "codes"}


COLUMNS: dict[str, type] = {
    "id": str,
    "path": str,
    "start_s": float,
    "duration_s": float,
    "sample_rate_hz": int,
    "channels": int,
    "channel": int,
    "speaker": str,
    "text": str,
    "samples": int,
    "model": str,
    "weights_sha256": str,
    "bitrate_bps": int,
}
"""Columns of a data set except ``codes``."""
LEAST = {"sample_rate_hz": 1, "channels": 1, "channel": -1}
"""Lowest values of numbers; others begin with 0."""


def checked_facts(facts: dict[str, Any], frames: int, settings: Settings) -> dict[str, Any]:
    """Return the columns that are fields of a `Row`, which may come from a file of anybody.

    Args:
        facts: columns of a row.
        frames: number of frames of its codes.
        settings: settings of the data set.

    Raises:
        ValueError: a value has another type, is out of range, or contradicts the others.
        KeyError: a column is missing.
    """
    found = {field.name: facts[field.name] for field in fields(Row) if field.name != "codes"}
    for name, value in found.items():
        kind = (int, float) if COLUMNS[name] is float else COLUMNS[name]
        low = LEAST.get(name, 0)
        if not isinstance(value, kind) or (kind is not str and not low <= value < 2**53):
            raise ValueError(f"{name} is {value!r}")
    if found["channel"] >= found["channels"]:
        raise ValueError(f"channel is {found['channel']} of {found['channels']}")
    rate_hz, samples = found["sample_rate_hz"], found["samples"]
    if samples != length_at(round(found["duration_s"] * rate_hz), rate_hz, settings.sample_rate_hz):
        raise ValueError(f"samples is {samples}, but duration_s is {found['duration_s']}")
    surplus = frames * settings.frame_samples - samples
    most = settings.delay_samples + MOST_CHUNK_FRAMES * settings.frame_samples
    if not 0 <= surplus <= most:
        raise ValueError(f"samples is {samples}, but the codes have {counted(frames, 'frame')}")
    return found


def columns_of(row: Row, settings: Settings) -> dict[str, Any]:
    """Return the columns of a row, except the codes."""
    facts = row.facts()
    return {name: facts[name] if name in facts else getattr(settings, name) for name in COLUMNS}
