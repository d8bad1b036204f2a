"""The sounds of a listening test: read from an evaluation, made equally loud, and written."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.errors import FileError
from chirrup.evaluate.listening_tests.items import REFERENCE, Item
from chirrup.evaluate.listening_tests.sounds import gains_db, low_passed
from chirrup.evaluate.results import audio_path
from chirrup.files.outputs import open_sink
from chirrup.files.sounds import UnreadableError, read_sound

ANCHOR = "anchor-"


def anchor(edge_hz: int) -> str:
    """Return the name of a low-pass anchor, such as ``anchor-3500``."""
    return f"{ANCHOR}{edge_hz}"


@dataclass
class Writer:
    """Writes sounds under random names, and keeps the system of each.

    Attributes:
        results: folder of the evaluation.
        folder: folder for the sounds.
        sounds: facts of each sound, by its name.
    """

    results: Path
    folder: Path
    sounds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, item: Item, wanted: Sequence[str]) -> list[str]:
        """Write sounds of an item at equal loudness, and return their names.

        Args:
            wanted: systems, `REFERENCE`, or the names of anchors that `anchor` returns.
        """
        reference, rate_hz = self._read(item, REFERENCE)
        audio = {
            name: self._version(item, name, reference, rate_hz)
            for name in dict(zip(wanted, wanted))
        }
        gains = gains_db(audio, rate_hz, reference)
        names = []
        for system in wanted:
            name = f"{secrets.token_hex(6)}.flac"
            loud = audio[system] * 10 ** (gains[system] / 20)
            with open_sink(self.folder / name, rate_hz, len(loud), loud.shape[1]) as sink:
                sink.write(loud.T.clip(-1, 1))
            self.sounds[name] = {
                "system": system,
                "condition": item.condition,
                "clip": item.clip,
                "speaker": item.speaker,
                "gain_db": round(gains[system], 2),
            }
            names.append(name)
        return names

    def reference_rate_hz(self, item: Item) -> int:
        return self._read(item, REFERENCE)[1]

    def _version(self, item: Item, name: str, reference: np.ndarray, rate_hz: int) -> np.ndarray:
        if name == REFERENCE:
            return reference
        if name.startswith(ANCHOR):
            return low_passed(reference, rate_hz, int(name.removeprefix(ANCHOR)))
        audio, other_hz = self._read(item, name)
        if (other_hz, audio.shape) != (rate_hz, reference.shape):
            raise FileError(
                f"{audio_path(self.results, item.condition, item.clip, name)} does not have the "
                "length, rate and channels of reference.flac beside it: run the evaluation again"
            )
        return audio

    def _read(self, item: Item, name: str) -> tuple[np.ndarray, int]:
        path = audio_path(self.results, item.condition, item.clip, name)
        try:
            audio, rate_hz = read_sound(path)
        except (UnreadableError, OSError) as error:
            raise FileError(f"{path} cannot be read as audio: {error}") from error
        return np.ascontiguousarray(audio.T), rate_hz
